import { useNavigate, useSearch } from "@tanstack/react-router";

type Values = Record<string, string | undefined>;

/** State kept in the address, so that it can be linked to and survives a reload. Empty values leave the address. */
export function useUrlState(): [Values, (changes: Values) => void] {
  const found = useSearch({ strict: false }) as Record<string, unknown>;
  const navigate = useNavigate();
  const values: Values = {};
  for (const [name, value] of Object.entries(found))
    values[name] = typeof value === "string" ? value : JSON.stringify(value);
  const change = (changes: Values) => {
    const search: Values = {};
    for (const [name, value] of Object.entries({ ...values, ...changes })) if (value) search[name] = value;
    void navigate({ to: ".", search: search as never, replace: true });
  };
  return [values, change];
}
