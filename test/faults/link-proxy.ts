/**
 * Slow and unreliable links between nodes, as a process of its own: a TCP proxy that delays what it forwards, limits
 * its rate and resets connections. `link-proxy.js ADDRESS SETTINGS TARGET…` listens on a port of ADDRESS for each
 * target (address:port), prints the endpoints as a line of JSON, and ends with its standard input.
 */

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { seeded } from '../unit/store/support.js';
import type { LinkSettings } from './links.js';

/** Of one direction; more is not read before some of it is gone. */
const MAX_QUEUED_BYTES = 4 << 20;

const [address, settingsJson, ...targets] = process.argv.slice(2) as [string, string, ...string[]];
const settings = JSON.parse(settingsJson) as LinkSettings;
const random = seeded(settings.seed);

/** Forwards what comes from one socket to another, later. */
function forward(from: Socket, to: Socket): void {
  let queued = 0;
  let freeAt = 0;
  const later = (bytes: number, act: () => void): void => {
    const pace = settings.bytesPerSecond === 0 ? 0 : (bytes / settings.bytesPerSecond) * 1000;
    const now = performance.now();
    freeAt = Math.max(freeAt, now + settings.delayMs + random.next() * settings.jitterMs) + pace;
    setTimeout(act, freeAt - now);
  };
  from.on('data', (chunk: Buffer) => {
    queued += chunk.length;
    if (queued > MAX_QUEUED_BYTES) from.pause();
    later(chunk.length, () => {
      queued -= chunk.length;
      if (queued <= MAX_QUEUED_BYTES) from.resume();
      if (!to.destroyed) to.write(chunk);
    });
  });
  from.on('end', () => later(0, () => to.end()));
  from.on('error', () => to.destroy());
}

async function listen(target: string): Promise<string> {
  const [host, port] = target.split(':');
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host: host!, port: Number(port), allowHalfOpen: true, noDelay: true });
    forward(client, upstream);
    forward(upstream, client);
    if (settings.resetAfterMs === 0) return;
    // The time to the next of events that come at random has an exponential distribution.
    const timer = setTimeout(
      () => {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      },
      -Math.log(1 - random.next()) * settings.resetAfterMs,
    );
    client.once('close', () => clearTimeout(timer));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, address, resolve);
  });
  return `${address}:${(server.address() as AddressInfo).port}`;
}

process.stdin.once('close', () => process.exit());
process.stdin.resume();
const endpoints = await Promise.all(targets.map(listen));
process.stdout.write(`${JSON.stringify(endpoints)}\n`);
