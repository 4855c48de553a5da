/** `node download-temporal.js <version> <folder>`: lets the Temporal SDK download its server, and ends it at once. */

import { TestWorkflowEnvironment } from '@temporalio/testing';

const [version, folder] = process.argv.slice(2);
if (version === undefined || folder === undefined) throw new Error('usage: download-temporal <version> <folder>');

const environment = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: 'cached-download', version, downloadDir: folder }, ip: '127.0.0.1' },
});
await environment.teardown();
