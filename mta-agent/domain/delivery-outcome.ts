import type { SmtpReply } from './smtp-reply.ts'

/** How much of the world a failure speaks of: the narrowest that fits, so that one full mailbox does not slow a provider. */
export type FailureScope = 'recipient' | 'message' | 'route' | 'destination'

/** What one attempt taught us about one recipient (RFC 3463 class 2, 4, 5). */
export type DeliveryOutcome =
  | { readonly kind: 'delivered'; readonly reply: SmtpReply }
  | { readonly kind: 'deferred'; readonly reply: SmtpReply; readonly scope: FailureScope }
  | {
      readonly kind: 'bounced'
      readonly reply: SmtpReply
      /** Damaged: what lies on the disk is not what was accepted. */
      readonly because: 'Refused' | 'Expired' | 'NoSuchDomain' | 'NullMx' | 'Unroutable' | 'Unsupported' | 'Damaged'
    }
