/**
 * A member's own damaged blocks: it asks its primary for them, by order and checksum, writes them again and reads
 * them back. Whoever sends a block with that order and checksum sends the right one, so that nothing else needs to
 * be agreed upon; of a block that came without a checksum, as lost in a gap of an index, a primary of no earlier epoch
 * than was promised has the right one. One request at a time, at most one each `mendIntervalMs`.
 */

import { MAX_MEND_BLOCKS, type Mended, VERSION_WITH_MENDING } from '../messages.js';
import type { IndexedBlock, Timer } from '../ports.js';
import type { BlockNumber, DeploymentId, Sequence } from '../types.js';
import { blocksPerBatch } from './batches.js';
import type { Context } from './context.js';
import { readIntact, rewriteDamaged, stillPresent } from './damage.js';

const NOTHING = 0 as Sequence;
const EVERYTHING = Number.MAX_SAFE_INTEGER as Sequence;

interface Asked {
  readonly of: DeploymentId;
  readonly request: number;
  readonly blocks: readonly IndexedBlock[];
}

export class Mending {
  readonly #context: Context;
  readonly #damaged = new Map<BlockNumber, IndexedBlock>();
  #asked: Asked | undefined;
  /** Until the next request may go out, or the last one is given up. */
  #timer: Timer | undefined;
  #number = 0;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Blocks that were found bad here. More than `maxDamagedBlocks` are left to the next scrub. */
  add(blocks: readonly IndexedBlock[]): void {
    for (const block of blocks) {
      if (this.#damaged.size >= this.#context.settings.maxDamagedBlocks) break;
      this.#damaged.set(block.block, block);
    }
    this.advance();
  }

  /** What is not mended yet, for a copy that becomes the primary itself. */
  take(): IndexedBlock[] {
    const blocks = [...this.#damaged.values()];
    this.stop();
    return blocks;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#asked = undefined;
    this.#damaged.clear();
  }

  /** There may be a primary to ask. */
  advance(): void {
    const context = this.#context;
    const { record, self, store, settings, links } = context;
    if (context.halted || this.#timer !== undefined || this.#damaged.size === 0 || record === undefined) return;
    const { deployment, node } = record.primary;
    if (deployment === self.deployment || links.version(node) < VERSION_WITH_MENDING) return;
    const limit = Math.min(MAX_MEND_BLOCKS, blocksPerBatch(store.state.blockSize));
    const blocks = [...this.#damaged.values()].slice(0, limit);
    this.#asked = { of: deployment, request: ++this.#number, blocks };
    this.#pause(settings.mendTimeoutMs);
    context.send(deployment, {
      type: 'mend',
      epoch: store.state.promised,
      incarnation: store.incarnation,
      request: this.#number,
      blocks: blocks.map(({ block, order, checksumLow, checksumHigh }) => ({
        block,
        order,
        checksumLow,
        checksumHigh,
      })),
    });
  }

  #pause(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#context.clock.after(ms, () => {
      this.#context.guard(() => {
        this.#timer = undefined;
        this.#asked = undefined;
        this.advance();
      });
    });
  }

  onMended(from: DeploymentId, message: Mended): void {
    const asked = this.#asked;
    if (asked === undefined || asked.of !== from || asked.request !== message.request) return;
    this.#asked = undefined;
    this.#pause(this.#context.settings.mendIntervalMs);
    this.#context.background(this.#mend(asked.blocks, message));
  }

  async #mend(blocks: readonly IndexedBlock[], answer: Mended): Promise<void> {
    const { store, counters, events } = this.#context;
    // A primary has all of the stream, unless a later one that was promised something goes on with another stream.
    const completeTo = answer.epoch < store.state.promised ? NOTHING : EVERYTHING;
    const written = await rewriteDamaged(this.#context, answer, blocks, completeTo);
    const { bad } = await readIntact(
      store,
      written.map(({ block }) => block),
    );
    const still = new Set(bad.map(({ block }) => block));
    const mended = written.filter(({ block }) => !still.has(block));
    const lost = await stillPresent(
      store,
      blocks.filter((block) => !mended.includes(block)),
    );
    if (this.#context.halted) return;
    // The next scrub finds again what the primary has not got; by then it may.
    for (const block of blocks) if (this.#damaged.get(block.block) === block) this.#damaged.delete(block.block);
    counters.blocksHealed += mended.length;
    counters.blocksUnhealed += lost.length;
    events.log(lost.length > 0 ? 'error' : 'warn', 'bad blocks of this copy', {
      healed: mended.length,
      lost: lost.slice(0, 10).map((block) => block.block),
    });
  }
}
