/** The links between the nodes of a network made slow and unreliable, by a proxy that their connections take. */

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { startModule } from '../setup/module-process.js';
import type { NamespaceNetwork } from '../setup/namespaces.js';

export interface LinkSettings {
  /** One way, for every byte. */
  readonly delayMs: number;
  /** On top of it, between 0 and this; the order is kept. */
  readonly jitterMs: number;
  /** Of one connection in one direction; 0: no limit. */
  readonly bytesPerSecond: number;
  /** Until a connection is reset, on average; 0: never. */
  readonly resetAfterMs: number;
  readonly seed: number;
}

const PROXY = new URL(import.meta.url.endsWith('.ts') ? './link-proxy.ts' : './link-proxy.js', import.meta.url);

/** While `work` goes on, every connection between these nodes goes through a proxy with these settings. */
export async function withSlowLinks(
  network: NamespaceNetwork,
  nodes: readonly number[],
  settings: LinkSettings,
  work: () => Promise<void>,
): Promise<void> {
  const targets = nodes.map((node) => `${network.address(node)}:5703`);
  const proxy = startModule(PROXY, [network.gateway, JSON.stringify(settings), ...targets]);
  const ended = once(proxy, 'exit');
  try {
    const [line] = (await Promise.race([
      once(createInterface({ input: proxy.stdout! }), 'line'),
      ended.then(() => Promise.reject(new Error('the proxy has ended'))),
    ])) as [string];
    const endpoints = JSON.parse(line) as string[];
    const detours = nodes.map((to, i) => ({ to, through: endpoints[i]! }));
    await Promise.all(
      nodes.map((node) =>
        network.redirect(
          node,
          detours.filter(({ to }) => to !== node),
        ),
      ),
    );
    await work();
  } finally {
    proxy.kill();
    await ended;
    await Promise.all(nodes.map((node) => network.redirect(node, [])));
  }
}
