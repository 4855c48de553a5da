/** A primary in memory: what frontends talk to in tests that are about frontends. */

import type { FrontendMessage, IoStatus, SessionMessage } from '../../../core/messages.js';
import type { SessionChannel, SessionConnector, SessionEvents } from '../../../core/ports.js';
import { ENTRY_BYTES, type Entry, KIND_DATA, readEntry, writeEntry, zeroEntry } from '../../../core/record.js';
import type { Epoch, SessionNumber } from '../../../core/types.js';

interface Stored {
  readonly entry: Entry;
  readonly payload: Buffer;
}

interface Session {
  readonly events: SessionEvents;
  number: number | undefined;
  gone: boolean;
}

/**
 * Does what it is asked in the order of the messages, for the newest session only, each answer a turn of the
 * event loop later. `cut` ends the sessions as a failing primary does: some requests done, not all answered.
 */
export class MemoryPrimary implements SessionConnector {
  readonly blocks = new Map<number, Stored>();
  readonly sessionNumbers: number[] = [];
  lossVerifier = 1;
  /** What writes are answered with; they are done only if it is `ok`. */
  writeStatus: IoStatus = 'ok';
  /** Requests are taken and not answered while it is on. */
  frozen = false;
  flushes = 0;
  fuaWrites = 0;
  /** Messages seen, for tests that count. */
  requests = 0;
  #sessions = new Set<Session>();
  #newest: Session | undefined;

  connect(_target: unknown, events: SessionEvents): SessionChannel {
    const session: Session = { events, number: undefined, gone: false };
    this.#sessions.add(session);
    return {
      send: (message) => void setImmediate(() => this.#take(session, message)),
      close: () => {
        session.gone = true;
        this.#sessions.delete(session);
      },
    };
  }

  /** Ends all sessions; what arrived is done, nothing more is answered. */
  cut(): void {
    for (const session of this.#sessions) {
      session.gone = true;
      session.events.closed('cut');
    }
    this.#sessions.clear();
    this.#newest = undefined;
  }

  #take(session: Session, message: FrontendMessage): void {
    if (session.gone || this.frozen) return;
    if (message.type === 'open') {
      if (this.sessionNumbers.some((number) => number >= message.session)) {
        this.#answer(session, { type: 'rejected', session: message.session, reason: 'stale-session' });
        return;
      }
      session.number = message.session;
      this.sessionNumbers.push(message.session);
      this.#newest = session;
      this.#answer(session, {
        type: 'opened',
        session: message.session as SessionNumber,
        epoch: 1 as Epoch,
        lossVerifier: this.lossVerifier,
      });
      return;
    }
    if (session !== this.#newest || message.session !== session.number) return;
    this.requests++;
    switch (message.type) {
      case 'write':
        if (this.writeStatus === 'ok') this.#write(message.batch.entries, message.batch.payload);
        if (message.fua) this.fuaWrites++;
        this.#answer(session, { type: 'written', request: message.request, status: this.writeStatus });
        break;
      case 'read':
        this.#answer(session, {
          type: 'data',
          request: message.request,
          status: 'ok',
          batch: this.#read(message.block, message.blocks),
        });
        break;
      case 'sync':
        this.flushes++;
        this.#answer(session, { type: 'synced', request: message.request, status: 'ok' });
    }
  }

  #answer(session: Session, message: SessionMessage): void {
    setImmediate(() => {
      if (!session.gone && !this.frozen) session.events.message(message);
    });
  }

  #write(entries: Buffer, payload: Buffer): void {
    let at = 0;
    for (let i = 0; i < entries.length / ENTRY_BYTES; i++) {
      const entry = readEntry(entries, i);
      if (entry.kind === KIND_DATA) {
        this.blocks.set(entry.block, { entry, payload: Buffer.from(payload.subarray(at, at + entry.storedLength)) });
      } else if (entry.blocks > this.blocks.size) {
        for (const block of this.blocks.keys()) {
          if (block >= entry.block && block < entry.block + entry.blocks) this.blocks.delete(block);
        }
      } else {
        for (let block = entry.block; block < entry.block + entry.blocks; block++) this.blocks.delete(block);
      }
      at += entry.storedLength;
    }
  }

  #read(first: number, blocks: number) {
    const entries = Buffer.alloc(blocks * ENTRY_BYTES);
    const payloads: Buffer[] = [];
    for (let i = 0; i < blocks; i++) {
      const stored = this.blocks.get(first + i);
      writeEntry(entries, i, stored?.entry ?? zeroEntry(first + i, 1));
      if (stored !== undefined) payloads.push(stored.payload);
    }
    return { entries, payload: Buffer.concat(payloads) };
  }
}
