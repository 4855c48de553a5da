import { diskSchedules } from './disks.js';
import { networkSchedules } from './network.js';
import { processSchedules } from './processes.js';
import type { Schedule } from './schedule.js';
import { serverSchedules } from './servers.js';
import { combinedSchedules } from './together.js';

export const SCHEDULES: readonly Schedule[] = [
  ...networkSchedules,
  ...processSchedules,
  ...diskSchedules,
  ...serverSchedules,
  ...combinedSchedules,
];
