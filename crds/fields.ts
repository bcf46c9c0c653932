import { z } from 'zod'
import { DOMAIN, HOST_NAME, isAddress, isCanonicalAddress, isCanonicalNetwork, isDomain, isGlobalUnicast, isHostName } from './addresses.ts'
import { parseAddress, parseNetwork, WIDEST_PREFIX } from './addresses.ts'
import { compareQuantities, isQuantity } from './quantity.ts'
import { celText, textRule, withRules } from './rules.ts'

/** Fields that occur in several kinds, each with its bounds and its rules. */

const matches = (pattern: string): string => `self.matches(${celText(pattern)})`

const canonical = textRule(
  'isIP(self) && ip.isCanonical(self)',
  'must be an IPv4 or IPv6 address in its canonical spelling (192.0.2.1, 2001:db8::1)',
  isCanonicalAddress,
)

/** Any address, in its one spelling. */
export const AddressField = withRules(z.string().min(2).max(45), canonical)

/** An address that mail can leave from: neither loopback, link-local, multicast, broadcast nor unspecified. */
export const UnicastAddressField = withRules(
  AddressField,
  textRule(
    '!isIP(self) || ip(self).isGlobalUnicast()',
    'must be a unicast address, not loopback, link-local, multicast or unspecified',
    (text) => !isAddress(text) || isGlobalUnicast(parseAddress(text)),
  ),
)

export const NetworkField = withRules(
  z.string().min(3).max(49),
  textRule(
    'isCIDR(self) && string(cidr(self).masked()) == self',
    'must be a network in its canonical spelling, no bits set after the prefix (192.0.2.0/24, 2001:db8::/32)',
    isCanonicalNetwork,
  ),
  textRule(
    `!isCIDR(self) || cidr(self).prefixLength() >= (cidr(self).ip().family() == 4 ? ${WIDEST_PREFIX[4]} : ${WIDEST_PREFIX[6]})`,
    `must be no wider than /${WIDEST_PREFIX[4]} (IPv4) or /${WIDEST_PREFIX[6]} (IPv6), or anyone could send through this stream`,
    (text) => !isCanonicalNetwork(text) || parseNetwork(text).prefixLength >= WIDEST_PREFIX[parseNetwork(text).family],
  ),
)

/** A fully qualified name of a host. */
export const DomainField = withRules(
  z.string().min(1).max(253),
  textRule(matches(DOMAIN), 'must be a full DNS name in lower case (mta-1.example.com)', isDomain),
)

/** `*` or a recipient domain. */
export const RouteDomainField = withRules(
  z.string().min(1).max(253),
  textRule(
    `self == '*' || ${matches(DOMAIN)}`,
    'must be a full DNS name in lower case (example.com), or * alone',
    (text) => text === '*' || isDomain(text),
  ),
)

/** A name or an address to connect to. */
export const HostField = withRules(
  z.string().min(1).max(253),
  textRule(
    `(isIP(self) && ip.isCanonical(self)) || ${matches(HOST_NAME)}`,
    'must be a DNS name in lower case or an IP address in its canonical spelling',
    (text) => isCanonicalAddress(text) || isHostName(text),
  ),
)

const OBJECT_NAME = '^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$'

/** Name of any Kubernetes object (RFC 1123 subdomain). */
export const ObjectNameField = withRules(
  z.string().min(1).max(253),
  textRule(matches(OBJECT_NAME), 'must be the name of a Kubernetes object: a-z, 0-9, hyphens and dots', (text) =>
    new RegExp(OBJECT_NAME).test(text),
  ),
)

const INTERFACE = '^[^\\s/:]{1,15}$'

/** What Linux takes as the name of a network interface. */
export const InterfaceField = withRules(
  z.string().min(1).max(15),
  textRule(matches(INTERFACE), 'must be the name of a network interface (eth0, bond0.17): no white space, slash or colon', (text) =>
    new RegExp(INTERFACE).test(text),
  ),
)

const quantity = textRule('isQuantity(self)', 'must be a Kubernetes quantity (250m, 512Mi, 20Gi)', isQuantity)

/** A quantity of a compute resource; zero is one. */
export const QuantityField = withRules(
  z.string().min(1).max(32),
  quantity,
  textRule(
    "!isQuantity(self) || quantity(self).compareTo(quantity('0')) >= 0",
    'must not be negative',
    (text) => !isQuantity(text) || compareQuantities(text, '0') >= 0,
  ),
)

/** The least an LMDB environment, a few messages and the file system's own blocks fit in. */
const LEAST_QUEUE = '64Mi'

export const QueueSizeField = withRules(
  z.string().min(1).max(32),
  quantity,
  textRule(
    `!isQuantity(self) || quantity(self).compareTo(quantity('${LEAST_QUEUE}')) >= 0`,
    `must be at least ${LEAST_QUEUE}`,
    (text) => !isQuantity(text) || compareQuantities(text, LEAST_QUEUE) >= 0,
  ),
)

/** Longest name of each kind. A stream's name becomes a label value and the beginning of the names of Pods, claims and Services. */
export const NAME_LIMITS = { SendingStream: 40, IPPool: 63, MTAInstance: 63 } as const

const RFC1035_LABEL = '^[a-z]([a-z0-9-]*[a-z0-9])?$'

/** What metadata.name of our own kinds must be; stands at the root of the document, where alone the API server shows it. */
export const nameRule = (kind: keyof typeof NAME_LIMITS) => ({
  cel: `self.metadata.name.size() <= ${NAME_LIMITS[kind]} && self.metadata.name.matches(${celText(RFC1035_LABEL)})`,
  holds: (object: { readonly metadata: { readonly name: string } }) =>
    object.metadata.name.length <= NAME_LIMITS[kind] && new RegExp(RFC1035_LABEL).test(object.metadata.name),
  must: `metadata.name must be a lower-case DNS label of at most ${NAME_LIMITS[kind]} characters that begins with a letter`,
  was: 'was "%s"',
  args: ['self.metadata.name'],
  values: (object: { readonly metadata: { readonly name: string } }) => [object.metadata.name],
  path: ['metadata', 'name'],
})
