import { type FocusEvent, useEffect, useRef } from "react";

/**
 * Keeps the keyboard's place in a group of actions: where the one that it is at goes or is disabled, the group itself
 * gets it, and Tab leads to the first of those left. None of them gets it: a second Enter, pressed blindly, would start it.
 */
export function useKeptFocus() {
  const group = useRef<HTMLDivElement>(null);
  const held = useRef(false);
  useEffect(() => {
    if (held.current && document.activeElement === document.body)
      group.current?.focus({ preventScroll: true });
  });
  return {
    ref: group,
    role: "group",
    tabIndex: -1,
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
