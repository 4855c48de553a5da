/** Calls both ways over the channel between a process and its child. */

import type { ChildProcess } from 'node:child_process';

type Methods = Readonly<Record<string, (...args: never[]) => unknown>>;

type Message =
  | { readonly call: number; readonly method: string; readonly args: readonly unknown[] }
  | { readonly answer: number; readonly result?: unknown; readonly error?: string };

/** What `Methods` look like from the other end. */
export type Remote<M extends Methods> = {
  readonly [K in keyof M]: (...args: Parameters<M[K]>) => Promise<Awaited<ReturnType<M[K]>>>;
};

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Serves `methods` to the other end of `channel` (a child with `serialization: 'advanced'`, or this process in one)
 * and returns what that end serves. Calls reject when the channel closes.
 */
export function connect<M extends Methods>(channel: ChildProcess | NodeJS.Process, methods: Methods): Remote<M> {
  const pending = new Map<number, Pending>();
  let calls = 0;
  const send = (message: Message): void => {
    if (!channel.connected) return;
    channel.send?.(message, undefined, {}, (error: Error | null) => {
      if (error !== null && 'call' in message) settle(message.call, (call) => call.reject(error));
    });
  };
  const settle = (id: number, how: (call: Pending) => void): void => {
    const call = pending.get(id);
    pending.delete(id);
    if (call !== undefined) how(call);
  };
  const answer = async (id: number, run: () => unknown): Promise<void> => {
    try {
      send({ answer: id, result: await run() });
    } catch (error) {
      send({ answer: id, error: String((error as Error).stack ?? error) });
    }
  };
  channel.on('message', (message: Message) => {
    if ('call' in message) {
      void answer(message.call, () => methods[message.method]?.(...(message.args as never[])));
    } else {
      settle(message.answer, ({ resolve, reject }) => {
        if (message.error === undefined) resolve(message.result);
        else reject(new Error(message.error));
      });
    }
  });
  channel.on('disconnect', () => {
    for (const id of [...pending.keys()]) settle(id, (call) => call.reject(new Error('the other process has gone')));
  });
  return new Proxy({} as Remote<M>, {
    get:
      (_target, method) =>
      (...args: unknown[]) =>
        new Promise((resolve, reject) => {
          if (!channel.connected) return reject(new Error('the other process has gone'));
          const call = ++calls;
          pending.set(call, { resolve, reject });
          send({ call, method: String(method), args });
        }),
  });
}
