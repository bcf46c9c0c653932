import type { Socket } from 'node:net'
import { ProtocolFault } from './protocol.ts'

/** Cuts what comes into lines; a line that does not end is not kept for ever. */
export function onLines(socket: Socket, longest: number, onLine: (line: string) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    try {
      for (const line of lines) onLine(line)
      if (rest.length > longest) throw new ProtocolFault(`a line must have at most ${longest} characters`)
    } catch (error) {
      socket.destroy(error as Error)
    }
  })
}
