interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

/**
 * What the clients of one volume may have in flight together: requests and their bytes. Who finds no room
 * waits in the order of coming and stops reading its socket meanwhile; that is the back-pressure that bounds
 * the memory of a frontend.
 */
export class IoBudget {
  readonly #maxRequests: number;
  readonly #maxBytes: number;
  readonly #waiters: Waiter[] = [];
  #requests = 0;
  #bytes = 0;

  /** `maxBytes` is at least as much as the largest request. */
  constructor(limits: { readonly maxRequests: number; readonly maxBytes: number }) {
    this.#maxRequests = limits.maxRequests;
    this.#maxBytes = limits.maxBytes;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Takes room for a request now, or calls `grant` once when the room has been taken. */
  acquire(bytes: number, grant: () => void): boolean {
    if (this.#waiters.length === 0 && this.#fits(bytes)) {
      this.#take(bytes);
      return true;
    }
    this.#waiters.push({ bytes, grant });
    return false;
  }

  release(bytes: number): void {
    this.#requests--;
    this.#bytes -= bytes;
    for (;;) {
      const next = this.#waiters[0];
      if (next === undefined || !this.#fits(next.bytes)) return;
      this.#waiters.shift();
      this.#take(next.bytes);
      next.grant();
    }
  }

  #fits(bytes: number): boolean {
    return this.#requests < this.#maxRequests && this.#bytes + bytes <= this.#maxBytes;
  }

  #take(bytes: number): void {
    this.#requests++;
    this.#bytes += bytes;
  }
}
