/** Tasks on worker threads: each thread runs the module that asks for them, and has one task at a time. */

import { fileURLToPath } from 'node:url';
import { parentPort, Worker } from 'node:worker_threads';

/** A simulation leaves little behind and throws much away: fewer collections, each of which copies as little. */
const YOUNG_MIB = 64;

export interface Tasks<Task, Result> {
  /** `import.meta.url` of the module, which calls `answerTasks` where it is not the main thread. */
  readonly module: string;
  readonly threads: number;
  /** The next one; undefined: there is none left. */
  readonly take: () => Task | undefined;
  readonly done: (result: Result, task: Task) => void;
}

/** Resolves when all tasks are done. What a task throws ends it, and nothing is taken any more. */
export async function onThreads<Task, Result>(tasks: Tasks<Task, Result>): Promise<void> {
  let failed = false;
  const take = (): Task | undefined => (failed ? undefined : tasks.take());
  const thread = async (): Promise<void> => {
    try {
      await runThread({ ...tasks, take });
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  await Promise.all(Array.from({ length: tasks.threads }, thread));
}

function runThread<Task, Result>({ module, take, done }: Tasks<Task, Result>): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(module), { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB } });
    let task = take();
    const give = (): void => {
      if (task === undefined) void worker.terminate().then(() => resolve());
      else worker.postMessage(task);
    };
    worker.on('message', (result: Result) => {
      done(result, task!);
      task = take();
      give();
    });
    worker.once('error', reject);
    give();
  });
}

/** In a worker thread: answers one task after the other. */
export function answerTasks<Task, Result>(answer: (task: Task) => Promise<Result>): void {
  parentPort!.on('message', (task: Task) => {
    void answer(task).then((result) => parentPort!.postMessage(result));
  });
}
