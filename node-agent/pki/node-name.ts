/** The node's id in its certificate: a URI in the subject alternative names (RFC 5280, 4.2.1.6). */

import { X509Certificate } from 'node:crypto';
import { isUuid, type NodeId } from '../../core/types.js';
import { PkiError } from './errors.js';

const PREFIX = 'storageos://node/';
/** Subject alternative names that are looked at. */
const MAX_NAMES = 64;

export function nodeUri(node: NodeId): string {
  return PREFIX + node;
}

/** Whose certificate this is. Errors: PkiError('wrong-node') unless it names exactly one node. */
export function nodeOfCertificate(certificate: X509Certificate): NodeId {
  const nodes = alternativeNames(certificate.subjectAltName ?? '')
    .filter((name) => name.startsWith(`URI:${PREFIX}`))
    .map((name) => name.slice(`URI:${PREFIX}`.length));
  const [node] = nodes;
  if (nodes.length !== 1 || node === undefined || !isUuid(node)) {
    throw new PkiError('wrong-node', `the certificate of "${certificate.subject}" does not name one node`);
  }
  return node as NodeId;
}

/**
 * Splits Node's text form: names separated by ", ", where one that holds a special character is a JSON string
 * behind its type, so that no name can pass for two.
 */
function alternativeNames(text: string): string[] {
  const names: string[] = [];
  const pattern = /([A-Za-z ]+:)("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy;
  for (let match = pattern.exec(text); match !== null && match[0] !== ''; match = pattern.exec(text)) {
    const [, type = '', value = ''] = match;
    names.push(type + (value.startsWith('"') ? JSON.parse(value) : value));
    if (names.length > MAX_NAMES) break;
  }
  return names;
}

/** The same for a certificate in DER, as a TLS socket gives it. */
export function nodeOfRawCertificate(der: Buffer): NodeId {
  return nodeOfCertificate(new X509Certificate(der));
}
