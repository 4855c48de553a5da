/** Builds the WebAssembly module: generates the bitsliced AES kernels, then compiles asm/ as asconfig.json says. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { generateAes } from '../asm/generate/aes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
mkdirSync(join(root, 'build', 'asm'), { recursive: true });
writeFileSync(join(root, 'build', 'asm', 'aes-bitsliced.ts'), generateAes());

process.chdir(root);
const { error } = await asc.main(['--config', 'asconfig.json'], { stdout: process.stdout, stderr: process.stderr });
if (error) process.exitCode = 1;
