/** The published recipes that the server knows. */

import { useQuery } from "@tanstack/react-query";
import { call } from "../api/client";
import type { Sentence } from "../api/types";
import type { DraftSpec } from "./spec";

export type Recipe = {
  name: string;
  title: string;
  source: string;
  date: string;
  stack: string;
  notes: string[];
  note_sentences: Sentence[];
  spec: DraftSpec;
};

export function useRecipes() {
  return useQuery({
    queryKey: ["recipes"],
    queryFn: () => call<{ items: Recipe[] }>("GET", "/recipes"),
    staleTime: Number.POSITIVE_INFINITY,
  });
}
