/** A copy's eye on its primary: as long as there is no connection to it, the volume's workflow is asked to look. */

import type { Timer } from '../ports.js';
import type { NodeId } from '../types.js';
import type { Context } from './context.js';

export class PrimaryWatch {
  readonly #context: Context;
  readonly #isPrimary: () => boolean;
  #timer: Timer | undefined;

  constructor(context: Context, isPrimary: () => boolean) {
    this.#context = context;
    this.#isPrimary = isPrimary;
  }

  /** The record, the connection, or this copy's own part has changed. */
  look(): void {
    this.stop();
    const { settings, record } = this.#context;
    const node = record?.primary.node;
    if (node !== undefined && this.#misses(node)) this.#suspectIn(settings.memberGraceMs, node);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #misses(node: NodeId): boolean {
    const { halted, record, self, links } = this.#context;
    if (halted || this.#isPrimary() || record?.primary.node !== node) return false;
    return node !== self.node && !links.isUp(node);
  }

  #suspectIn(delayMs: number, node: NodeId): void {
    const { clock, settings, events } = this.#context;
    this.#timer = clock.after(delayMs, () => {
      this.#context.guard(() => {
        if (!this.#misses(node)) return;
        events.attention('suspect-primary');
        this.#suspectIn(settings.suspectRepeatMs, node);
      });
    });
  }
}
