/** What a deliberate mistake is, and how one is written down. */

export interface Edit {
  /** Below the compiled tree. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  /** Of docs/model/findings.md, or what else it breaks. */
  readonly rule: string;
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Why nothing comes of it; absent: it must be noticed. */
  readonly harmless?: string;
}

export const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace });
export const replication = (file: string, find: string, replace: string): Edit =>
  edit(`core/replication/${file}.js`, find, replace);
export const store = (file: string, find: string, replace: string): Edit =>
  edit(`node-agent/store/${file}.js`, find, replace);
