import type { Kind } from './keys.js';
import type { Versioned } from './repository.js';

/** What the watch last saw of all objects, by kind and id. */
export class ObjectCache {
  readonly #kinds = new Map<Kind, Map<string, Versioned<object>>>();
  /** Whether a full listing has been seen. */
  synced = false;

  of(kind: Kind): Map<string, Versioned<object>> {
    let objects = this.#kinds.get(kind);
    if (objects === undefined) {
      objects = new Map();
      this.#kinds.set(kind, objects);
    }
    return objects;
  }
}
