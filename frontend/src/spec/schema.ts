/** The form is the spec: sections, fields, limits and defaults are read from the server's JSON schema of a JobSpec. */

import { useQuery } from "@tanstack/react-query";
import { call } from "../api/client";
import type { DraftSpec, Tree } from "./spec";

export type Field = {
  path: string;
  section: string;
  kind: "choice" | "number" | "switch" | "text" | "list" | "targets";
  options: string[];
  min?: number;
  max?: number;
  whole: boolean;
  nullable: boolean;
  fallback: unknown;
};
export type Section = { name: string; fields: Field[] };
export type SpecSchema = {
  sections: Section[];
  byPath: Map<string, Field>;
  /** What a job is called whose spec gives it no name. */
  nameFallback?: string;
};

type Node = {
  $ref?: string;
  type?: string;
  enum?: string[];
  const?: unknown;
  anyOf?: Node[];
  default?: unknown;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  properties?: Record<string, Node>;
};
type Root = Node & { $defs: Record<string, Node> };

/** The order of the form: what decides memory first. */
const ORDER = [
  "adaptation",
  "precision",
  "batch",
  "data",
  "memory_savers",
  "optimizer",
  "parallelism",
  "schedule",
  "placement",
];
/** Entered elsewhere: with the model and data pickers. */
const ELSEWHERE = new Set(["data.dataset"]);

export function useSpecSchema() {
  return useQuery({
    queryKey: ["spec-schema"],
    queryFn: async () => sectionsOf(await call<Root>("GET", "/spec/schema")),
    staleTime: Number.POSITIVE_INFINITY,
  });
}

function sectionsOf(root: Root): SpecSchema {
  const sections = ORDER.map((name) => {
    const node = root.properties?.[name];
    const definition = root.$defs[node?.$ref?.split("/").at(-1) ?? ""];
    const fields = Object.entries(definition?.properties ?? {})
      .map(([key, entry]) => fieldOf(name, key, entry))
      .filter((field) => !ELSEWHERE.has(field.path));
    return { name, fields };
  });
  return {
    sections,
    nameFallback: root.properties?.name?.default as string | undefined,
    byPath: new Map(sections.flatMap((section) => section.fields.map((field) => [field.path, field]))),
  };
}

/** A job's spec without the fields that are no more: an older release may have stored it. */
export function ofToday(spec: DraftSpec, schema: SpecSchema): DraftSpec {
  const kept = Object.fromEntries(
    schema.sections.map(({ name }) => {
      const values = Object.entries((spec[name] ?? {}) as Tree);
      const known = ([key]: [string, unknown]) =>
        schema.byPath.has(`${name}.${key}`) || ELSEWHERE.has(`${name}.${key}`);
      return [name, Object.fromEntries(values.filter(known))];
    }),
  );
  return { name: spec.name, model: spec.model, ...kept };
}

function fieldOf(section: string, key: string, entry: Node): Field {
  const choices = entry.anyOf?.filter((item) => item.type !== "null") ?? [entry];
  const main = { ...entry, ...choices[0] };
  return {
    path: `${section}.${key}`,
    section,
    kind: kindOf(main, choices),
    options: main.enum ?? [],
    min: main.minimum ?? main.exclusiveMinimum,
    max: main.maximum ?? main.exclusiveMaximum,
    whole: main.type === "integer",
    nullable: Boolean(entry.anyOf?.some((item) => item.type === "null")),
    fallback: key in LISTS ? [] : entry.default,
  };
}

/** Pydantic leaves the default of a list made by a factory out of the schema. */
const LISTS: Record<string, true> = { modules_to_save: true };

function kindOf(main: Node, choices: Node[]): Field["kind"] {
  if (choices.some((item) => item.const !== undefined)) return "targets";
  if (main.enum) return "choice";
  if (main.type === "boolean") return "switch";
  if (main.type === "array") return "list";
  return main.type === "integer" || main.type === "number" ? "number" : "text";
}
