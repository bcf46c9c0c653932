import { type ChildProcess, execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addressOf, addressV6Of, hostNamesOf, type ProviderPlan } from './catalogue.ts'
import type { KeyPair } from './certificates.ts'
import { startProcess } from './processes.ts'
import { logFolder, postfixFolder, PROCESS_MARK } from './state.ts'

/**
 * A real Postfix as a provider, an instance of its own with all its files in our folder. What it takes goes on by LMTP, with XFORWARD, to a
 * recorder of ours, so that it is written down with the client's address and EHLO name.
 */
export function startPostfix(plan: ProviderPlan, recorderPort: number, keys: KeyPair): ChildProcess {
  const folder = postfixFolder()
  const config = join(folder, 'config')
  for (const name of ['config', 'spool', 'data']) mkdirSync(join(folder, name), { recursive: true, mode: 0o755 })
  execFileSync('chown', ['postfix:postfix', join(folder, 'data')])
  const keyFile = join(config, 'keys.pem')
  writeFileSync(keyFile, keys.key + keys.certificate, { mode: 0o600 })
  chmodSync(keyFile, 0o600)
  writeFileSync(join(config, 'main.cf'), mainFile(plan, recorderPort, folder))
  writeFileSync(join(config, 'master.cf'), MASTER)
  return startProcess('postfix', ['postfix', '-c', config, 'start-fg'], 'child')
}

function mainFile(plan: ProviderPlan, recorderPort: number, folder: string): string {
  const hostName = hostNamesOf(plan)[0]?.name ?? plan.domain
  const host = plan.hosts[0]
  const settings = {
    compatibility_level: '3.6',
    queue_directory: `${folder}/spool`,
    data_directory: `${folder}/data`,
    maillog_file: `${logFolder()}/postfix.log`,
    maillog_file_prefixes: logFolder(),
    import_environment: `MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C ${PROCESS_MARK}`,
    myhostname: hostName,
    mydestination: '',
    mynetworks: '',
    inet_interfaces: `${addressOf(host)}, [${addressV6Of(host)}]`,
    inet_protocols: 'all',
    smtpd_relay_restrictions: 'reject_unauth_destination',
    virtual_mailbox_domains: plan.domain,
    virtual_mailbox_maps: 'regexp:{ {!/^nobody@/ OK} }',
    virtual_transport: `lmtp:inet:127.0.0.1:${recorderPort}`,
    lmtp_send_xforward_command: 'yes',
    lmtp_destination_recipient_limit: '1000',
    lmtp_destination_concurrency_limit: '20',
    alias_maps: '',
    alias_database: '',
    // There is no resolver in here.
    smtpd_peername_lookup: 'no',
    disable_dns_lookups: 'yes',
    smtpd_tls_security_level: 'may',
    smtpd_tls_chain_files: `${folder}/config/keys.pem`,
    smtpd_tls_received_header: 'yes',
    message_size_limit: '52428800',
    in_flow_delay: '0',
  }
  return `${Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}`)
    .join('\n')}\n`
}

/** Nothing runs in a chroot, and nothing is there that is not needed to take mail and pass it on. */
const MASTER = `smtp inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
