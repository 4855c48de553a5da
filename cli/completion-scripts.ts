/** What the shells run when the user presses the key: each asks the program itself for the candidates. */

import { COMPLETE_COMMAND } from './completion.js';

const BASH = `# Completion of storageos for bash
_storageos() {
  local IFS=$'\\n'
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(compgen -W "$(storageos ${COMPLETE_COMMAND} -- "\${words[@]}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _storageos storageos
`;

const ZSH = `#compdef storageos
# Completion of storageos for zsh
_storageos() {
  local -a candidates
  candidates=(\${(f)"$(storageos ${COMPLETE_COMMAND} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  compadd -a candidates
}
if [ "$funcstack[1]" = "_storageos" ]; then
  _storageos
else
  compdef _storageos storageos
fi
`;

const FISH = `# Completion of storageos for fish
function __storageos_complete
  set -l words (commandline -opc) (commandline -ct)
  storageos ${COMPLETE_COMMAND} -- $words[2..-1] 2>/dev/null
end
complete -c storageos -f -a '(__storageos_complete)'
`;

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;

export function completionScript(shell: keyof typeof SCRIPTS): string {
  return SCRIPTS[shell];
}
