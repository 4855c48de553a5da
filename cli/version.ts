/** Version of the CLI; equal to the package's. */
export const VERSION = '0.1.0';
