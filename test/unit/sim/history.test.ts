import { expect, it } from 'vitest';
import { History } from '../../sim/history.js';

/** A write of one block, which takes a moment. */
function write(history: History, generation: number, invoked: number): void {
  const operation = history.begin({
    ...{ kind: 'write', client: generation, generation, first: 0, blocks: 1, zero: false, fua: false },
    invoked,
  });
  operation.finished = invoked + 1;
  operation.status = 'ok';
}

it('a write that was done after a younger attachment had got an answer is noticed, however far its generation', () => {
  const history = new History(false);
  const far = 2 ** 52;
  write(history, 3, 1);
  write(history, far, 10);
  write(history, 2, 5);
  expect(history.problems(1)).toEqual(['write 3 of generation 2 was done after 2.0, when it was fenced']);
  write(history, far - 1, 12);
  expect(history.problems(1)).toContain(`write 4 of generation ${far - 1} was done after 11.0, when it was fenced`);
});
