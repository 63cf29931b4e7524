import { type FocusEvent, useEffect, useRef } from "react";

/** Keeps the keyboard's place in a group of actions: where the one that it is at goes or is disabled, the first of them gets it. */
export function useKeptFocus() {
  const group = useRef<HTMLDivElement>(null);
  const held = useRef(false);
  useEffect(() => {
    if (held.current && document.activeElement === document.body)
      group.current?.querySelector<HTMLElement>("a[href], button:not(:disabled)")?.focus();
  });
  return {
    ref: group,
    onFocus: () => {
      held.current = true;
    },
    onBlur: ({ target, relatedTarget }: FocusEvent) => {
      const gone = !target.isConnected || target.matches(":disabled");
      // A question comes back to where it was asked; another window leaves the place where it is.
      const comesBack = relatedTarget?.closest("[role=dialog]") || document.activeElement === target;
      held.current = Boolean(gone || comesBack);
    },
  };
}
