/** What the agent and its control process tell each other, over the channel between the two. */

import type { WorkflowEnd } from '../../workflows/sinks.js';
import type { LogSettings } from '../log.js';

/** From the control process. */
export interface ControlMessage {
  readonly type: 'workflow-ended';
  readonly end: WorkflowEnd;
}

/** To it. */
export interface AgentMessage {
  readonly type: 'log';
  readonly settings: LogSettings;
}
