/** The jobs that are ticked, kept for the browser tab: a look at one of them, or another filter, unticks none. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { answer, api } from "../../api/client";
import type { Job } from "../../api/types";
import { MOST_RUNS } from "../../charts/TimeSeries";
import { labelOf } from "../../ui/jobOption";

const STORED = "tunescope.ticked";
/** What one answer holds at most. Those beyond stay ticked, without their names. */
const MOST_ASKED = 200;

export type Ticked = {
  ids: string[];
  /** Their names, as far as they are known by now. */
  names: string[];
  tick: (id: string, on: boolean) => void;
  clear: () => void;
};

/** ``listed``: the jobs at hand. The others are asked for, and one that was deleted meanwhile is no longer ticked. */
export function useTicked(listed: Job[]): Ticked {
  const [ids, setIds] = useState(stored);
  useEffect(() => sessionStorage.setItem(STORED, JSON.stringify(ids)), [ids]);
  const elsewhere = ids.filter((id) => !listed.some((job) => job.id === id));
  const asked = useJobs(elsewhere.slice(0, MOST_ASKED));
  const gone = asked.gone;
  useEffect(() => {
    if (gone.length > 0) setIds((before) => before.filter((id) => !gone.includes(id)));
  });
  const known = [...listed, ...asked.found];
  const jobs = ids.flatMap((id) => known.find((job) => job.id === id) ?? []);
  return {
    ids,
    names: jobs.map((job) => labelOf(job, jobs)),
    tick: (id, on) => setIds((before) => [...before.filter((other) => other !== id), ...(on ? [id] : [])]),
    clear: () => setIds([]),
  };
}

/** What the page of losses is asked for; undefined where it can draw none of them, or not all. */
export function lossesOf(ids: string[]): { runs: string } | undefined {
  return ids.length > 0 && ids.length <= MOST_RUNS ? { runs: ids.join(",") } : undefined;
}

/** The jobs of these ids, in one request, and the ids of which there is none. */
function useJobs(ids: string[]): { found: Job[]; gone: string[] } {
  const asked = useQuery({
    queryKey: ["ticked", ids],
    queryFn: async () => {
      const query = { ids: ids.join(","), limit: MOST_ASKED };
      return (await answer(api.GET("/api/jobs", { params: { query } }))).items as Job[];
    },
    enabled: ids.length > 0,
    // While the list changes they keep their names; only the answer itself tells which of them are gone.
    placeholderData: (before) => before,
  });
  const found = asked.data ?? [];
  const told = asked.data && !asked.isPlaceholderData;
  return { found, gone: told ? ids.filter((id) => !found.some((job) => job.id === id)) : [] };
}

function stored(): string[] {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(STORED) ?? "");
    if (Array.isArray(found)) return found.filter((id) => typeof id === "string");
  } catch {
    // Nothing kept.
  }
  return [];
}
