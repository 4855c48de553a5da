/** A `Volume` of another version, which does something else than the present one: nothing, until it is woken. */

import { condition, defineSignal, setHandler, sleep } from '@temporalio/workflow';
import { LOOK_SIGNAL } from '../../../../workflows/names.js';

export async function Volume(): Promise<void> {
  setHandler(defineSignal<[string]>(LOOK_SIGNAL), () => {});
  await sleep(1);
  await sleep(2);
  await condition(() => false);
}
