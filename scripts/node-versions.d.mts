export interface NodeVersion {
  readonly major: string;
  readonly program: string;
  readonly installed: boolean;
}
export function otherNodeVersions(): NodeVersion[];
export function ensureNodeVersions(): Promise<void>;
