import { useNavigate, useSearch } from "@tanstack/react-router";

type Values = Record<string, string | undefined>;

/** State kept in the address, so that it can be linked to and survives a reload. Empty values leave the address. */
export function useUrlState(): [Values, (changes: Values) => void] {
  const found = useSearch({ strict: false }) as Record<string, unknown>;
  const navigate = useNavigate();
  // Merged with the address as it is by then: a change that was put off must not undo one made meanwhile.
  const merged = (changes: Values) => (now: Record<string, unknown>) =>
    Object.fromEntries(Object.entries({ ...texts(now), ...changes }).filter(([, value]) => value));
  const change = (changes: Values) => {
    void navigate({ to: ".", search: merged(changes) as never, replace: true });
  };
  return [texts(found), change];
}

function texts(search: Record<string, unknown>): Values {
  const found: Values = {};
  for (const [name, value] of Object.entries(search))
    found[name] = typeof value === "string" ? value : JSON.stringify(value);
  return found;
}
