/**
 * Frontends at the primary. One session at a time: a newer one of the same generation replaces it and
 * discards what it had not got its order for [14]; a higher generation is first ordered in the log and on
 * every member [13], and fences the older ones from then on. It is durable there before anything is served under
 * it: a fence must outlive whatever a flushed write outlives.
 */

import type { FrontendMessage, IoStatus, OpenSession, RejectReason } from '../messages.js';
import type { SessionLink } from '../ports.js';
import type { Generation, NodeId, SessionNumber } from '../types.js';
import { generationBatch } from './batches.js';
import type { Primary } from './primary.js';

interface Session {
  readonly link: SessionLink;
  readonly number: SessionNumber;
  readonly generation: Generation;
  open: boolean;
}

/** Says where to go, ends the session, and is the last word on it. */
export function reject(link: SessionLink, session: SessionNumber, reason: RejectReason, primary?: NodeId): void {
  if (link.closed) return;
  link.send({ type: 'rejected', session, reason, ...(primary === undefined ? {} : { primary }) });
}

export class Sessions {
  readonly #primary: Primary;
  /** The newest; not yet open while its generation is being ordered, or while the primary is opening. */
  #session: Session | undefined;
  /** The generation that was ordered last, confirmed or not. */
  #ordered: Generation;
  /** The one that is known to be durable on all members. */
  #durable = 0 as Generation;
  /** A generation is being ordered, or made durable. */
  #ordering = false;

  constructor(primary: Primary) {
    this.#primary = primary;
    this.#ordered = primary.context.store.generation;
  }

  /** The highest generation that this deployment knows. */
  get #generation(): Generation {
    return Math.max(this.#ordered, this.#session?.generation ?? 0) as Generation;
  }

  openSession(link: SessionLink, message: OpenSession): void {
    if (message.generation < this.#generation) {
      reject(link, message.session, 'fenced');
      return;
    }
    const present = this.#session;
    if (present !== undefined && !present.link.closed) {
      if (message.generation === present.generation && message.session <= present.number) {
        reject(link, message.session, 'stale-session');
        return;
      }
      reject(present.link, present.number, message.generation > present.generation ? 'fenced' : 'stale-session');
    }
    this.#session = { link, number: message.session, generation: message.generation, open: false };
    this.#primary.progress();
  }

  advance(): void {
    const session = this.#session;
    if (session === undefined || session.open || !this.#primary.ready || this.#ordering) return;
    if (session.generation > this.#ordered) {
      // The end of a sync needs a log that stands still.
      if (!this.#primary.writes.draining) this.#order(session.generation);
      return;
    }
    if (session.generation > this.#durable) {
      this.#flush(session.generation);
      return;
    }
    session.open = true;
    const { epoch, lossVerifier } = this.#primary.record;
    if (!session.link.closed) session.link.send({ type: 'opened', session: session.number, epoch, lossVerifier });
  }

  #order(generation: Generation): void {
    this.#ordered = generation;
    this.#makeDurable(generation, (done) =>
      this.#primary.writes.orderInternal(generationBatch(generation), { durable: true }, done),
    );
  }

  /** It was ordered under an earlier primary, whose frontends may not have been told of it yet. */
  #flush(generation: Generation): void {
    this.#makeDurable(generation, (done) => this.#primary.writes.flush(done));
  }

  #makeDurable(generation: Generation, run: (done: (status: IoStatus) => void) => void): void {
    this.#ordering = true;
    run((status) => {
      this.#ordering = false;
      if (status === 'ok') {
        this.#durable = generation;
      } else {
        // Tried anew when somebody asks again.
        this.#ordered = this.#primary.context.store.generation;
        const session = this.#session;
        this.#session = undefined;
        if (session !== undefined) reject(session.link, session.number, 'not-primary');
      }
      this.#primary.progress();
    });
  }

  onMessage(link: SessionLink, message: Exclude<FrontendMessage, OpenSession>): void {
    const session = this.#session;
    if (session?.link !== link || session.number !== message.session || !session.open) {
      reject(link, message.session, 'not-primary');
      return;
    }
    const { writes, reads } = this.#primary;
    const { request } = message;
    const wanted = (): boolean => this.#session === session && !link.closed;
    switch (message.type) {
      case 'write':
        writes.write(message.batch, message.fua, wanted, (status) => {
          if (wanted()) link.send({ type: 'written', request, status });
        });
        return;
      case 'read':
        reads.read(message.block, message.blocks, (status, batch) => {
          if (wanted()) link.send({ type: 'data', request, status, batch });
        });
        return;
      case 'sync':
        writes.flush((status) => {
          if (wanted()) link.send({ type: 'synced', request, status });
        });
        return;
    }
  }

  onClosed(link: SessionLink): void {
    if (this.#session?.link === link) this.#session = undefined;
  }

  rejectAll(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session !== undefined) reject(session.link, session.number, 'not-primary', this.#newPrimary());
  }

  #newPrimary(): NodeId | undefined {
    const { record, self } = this.#primary.context;
    return record !== undefined && record.primary.deployment !== self.deployment ? record.primary.node : undefined;
  }
}
