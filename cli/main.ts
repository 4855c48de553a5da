#!/usr/bin/env node
import { run } from './run.js';
import { processRuntime } from './terminal.js';

// A reader that has enough, like `head`, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await run(process.argv.slice(2), processRuntime());
