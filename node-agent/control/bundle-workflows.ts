import { join } from 'node:path';
import { bundleWorkflowCode, type Logger } from '@temporalio/worker';
import { packageRoot } from '../package-root.js';

const silent = (): void => {};
const complain = (message: string, meta?: unknown): void => console.error(message, meta ?? '');
const logger: Logger = { log: silent, trace: silent, debug: silent, info: silent, warn: complain, error: complain };

const WORKFLOWS = join(packageRoot(), 'workflows', 'index.ts');
const INTERCEPTORS = join(packageRoot(), 'workflows', 'interceptors.ts');

/** The text of the workflow bundle: the sources in workflows/ with what they import. Takes about 2 s. */
export async function bundleWorkflows(workflowsPath = WORKFLOWS): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath,
    workflowInterceptorModules: [INTERCEPTORS],
    // Imports name the compiled files.
    webpackConfigHook: (config) => ({
      ...config,
      resolve: { ...config.resolve, extensionAlias: { '.js': ['.ts', '.js'] } },
    }),
    logger,
  });
  return code;
}
