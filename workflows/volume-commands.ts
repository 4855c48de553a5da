/** What can be asked of a volume's workflow, checked before it is accepted. */

import { type ApplicationFailure, defineSignal, defineUpdate } from '@temporalio/workflow';
import { isUuid } from '../core/types.js';
import { failure } from './failures.js';
import {
  ATTACH_UPDATE,
  type AttachCommand,
  DETACH_UPDATE,
  LOOK_SIGNAL,
  MAX_PENDING_COMMANDS,
  PROVISION_UPDATE,
  REMOVE_UPDATE,
  type RemoveCommand,
} from './names.js';

/** Something may have changed; why, for people. */
export const look = defineSignal<[string]>(LOOK_SIGNAL);
export const provision = defineUpdate<void>(PROVISION_UPDATE);
export const attach = defineUpdate<void, [AttachCommand]>(ATTACH_UPDATE);
export const detach = defineUpdate<void>(DETACH_UPDATE);
export const remove = defineUpdate<void, [RemoveCommand]>(REMOVE_UPDATE);

export interface Command {
  /** For people: `attach to node …`. */
  readonly what: string;
  readonly run: () => Promise<void>;
  outcome?: { readonly error?: ApplicationFailure };
}

/** Commands that were accepted, handled one at a time in the order of their acceptance. */
export class CommandQueue {
  readonly #waiting: Command[] = [];
  /** No more are accepted: why. */
  #closed: string | undefined;

  get size(): number {
    return this.#waiting.length;
  }

  /** For validators. */
  refuseIfFull(): void {
    if (this.#closed !== undefined) throw failure('not-found', this.#closed);
    if (this.#waiting.length >= MAX_PENDING_COMMANDS) {
      throw failure('locked', `${this.#waiting.length} operations wait for this volume already`);
    }
  }

  push(command: Command): void {
    this.#waiting.push(command);
  }

  shift(): Command | undefined {
    return this.#waiting.shift();
  }

  close(reason: string): void {
    this.#closed = reason;
  }
}

export function checkAttach(command: AttachCommand): void {
  if (typeof command?.node !== 'string' || !isUuid(command.node))
    throw failure('invalid', 'attach: the node id is not a UUID');
}

export function checkRemove(command: RemoveCommand): void {
  if (typeof command?.offline !== 'boolean') throw failure('invalid', 'remove: "offline" is not a boolean');
}
