/** Exit codes of `storageos`, as StorageOS's CLI had them. */

import type { ApiError } from '../client/errors.js';

export const EXIT = {
  ok: 0,
  other: 1,
  licence: 5,
  authentication: 6,
  notAuthorised: 7,
  notFound: 8,
  alreadyExists: 9,
  invalidInput: 10,
  invalidState: 11,
  transient: 12,
  internal: 13,
  locked: 14,
  timedOut: 124,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command with a message on standard error. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}

/** 409 means that the name is taken when something is created, and a state that stands against it otherwise. */
function exitCodeOfStatus(status: number, creating: boolean): ExitCode {
  switch (status) {
    case 400:
      return EXIT.invalidInput;
    case 401:
      return EXIT.authentication;
    case 403:
      return EXIT.notAuthorised;
    case 404:
      return EXIT.notFound;
    case 409:
      return creating ? EXIT.alreadyExists : EXIT.invalidState;
    case 412:
    case 429:
    case 503:
      return EXIT.transient;
    case 422:
      return EXIT.invalidState;
    case 423:
      return EXIT.locked;
    case 451:
      return EXIT.licence;
    case 500:
      return EXIT.internal;
    default:
      return EXIT.other;
  }
}

export function exitCodeOf(error: ApiError): ExitCode {
  switch (error.failure) {
    case 'refused':
      return exitCodeOfStatus(error.status, error.creating);
    case 'timeout':
      return EXIT.timedOut;
    case 'malformed':
      return EXIT.internal;
    case 'unreachable':
      return EXIT.other;
  }
}
