/** What the control process tells its agent, over the channel between the two. */

import type { WorkflowEnd } from '../../workflows/sinks.js';

export interface ControlMessage {
  readonly type: 'workflow-ended';
  readonly end: WorkflowEnd;
}
