/** The job being made: one spec, entered as a form or as YAML, kept for the session so that a reload loses nothing. */

import { useEffect, useState } from "react";
import { isMap, LineCounter, parseDocument, stringify } from "yaml";
import { type DraftSpec, START, write } from "../../spec/spec";

const STORED = "tunescope.draft";

/** ``text`` is the YAML as typed (comments, order, even mistakes); null while the form alone was used. */
type Draft = { spec: DraftSpec; text: string | null; from?: string };

/** ``code`` is the YAML library's name of the mistake. */
export type YamlProblem = { line: number; message: string; code?: string };

export type DraftState = {
  spec: DraftSpec;
  text: string;
  from?: string;
  yamlProblem?: YamlProblem;
  change: (changes: Record<string, unknown>) => void;
  edit: (text: string) => void;
  replace: (spec: DraftSpec, from?: string) => void;
  dropText: () => void;
  clear: () => void;
};

export function useDraft(): DraftState {
  const [draft, setDraft] = useState<Draft>(stored);
  useEffect(() => sessionStorage.setItem(STORED, JSON.stringify(draft)), [draft]);
  const yamlProblem = draft.text === null ? undefined : readYaml(draft.text).problem;
  return {
    spec: draft.spec,
    text: draft.text ?? stringify(draft.spec),
    from: draft.from,
    yamlProblem,
    change: (changes) => setDraft((before) => changed(before, changes)),
    edit: (text) => setDraft((before) => ({ ...before, text, spec: readYaml(text).spec ?? before.spec })),
    replace: (spec, from) => setDraft({ spec, text: null, from }),
    dropText: () => setDraft((before) => ({ ...before, text: null })),
    clear: () => {
      sessionStorage.removeItem(STORED);
      setDraft({ spec: START, text: null });
    },
  };
}

function stored(): Draft {
  try {
    const found = JSON.parse(sessionStorage.getItem(STORED) ?? "");
    if (typeof found.spec === "object" && found.spec) return found;
  } catch {
    // Nothing kept, or kept by another version: begin anew.
  }
  return { spec: START, text: null };
}

/** The form's change, made in the YAML text too, so that its comments and order stay. */
function changed(draft: Draft, changes: Record<string, unknown>): Draft {
  let { spec, text } = draft;
  for (const [path, value] of Object.entries(changes)) spec = write(spec, path, value);
  if (text !== null) {
    const document = parseDocument(text);
    if (document.errors.length === 0) {
      for (const [path, value] of Object.entries(changes)) document.setIn(path.split("."), value);
      text = document.toString();
    }
  }
  return { ...draft, spec, text };
}

export function readYaml(text: string): { spec?: DraftSpec; problem?: YamlProblem } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const error = document.errors[0];
  if (error) {
    const [message = ""] = error.message.split("\n");
    return { problem: { line: lines.linePos(error.pos[0]).line, message, code: error.code } };
  }
  const spec = document.toJS();
  if (!isMap(document.contents) || typeof spec.model !== "object" || typeof spec.data !== "object")
    return { problem: { line: 1, message: "" } };
  return { spec };
}

/** The line of a dotted path in the YAML text, or of the nearest section that is there. */
export function lineOf(text: string, path: string): number | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  for (let keys = path.split("."); keys.length > 0; keys = keys.slice(0, -1)) {
    const node = document.getIn(keys, true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return lines.linePos(node.range[0]).line;
  }
  return undefined;
}
