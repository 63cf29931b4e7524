/** What every page asks of the server: who is signed in, and whether it answers. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { ApiProblem, answer, api } from "../api/client";
import type { Me } from "../api/types";

const HEALTH_MILLISECONDS = 5000;
const OFFLINE_MILLISECONDS = 2000;

export function useMe() {
  return useQuery({
    queryKey: ["me"],
    queryFn: () => answer(api.GET("/api/session")) as Promise<Me>,
    staleTime: 60_000,
  });
}

export function useHealth() {
  return useQuery({
    queryKey: ["health"],
    queryFn: () => answer(api.GET("/api/health")),
    refetchInterval: (query) => (query.state.error ? OFFLINE_MILLISECONDS : HEALTH_MILLISECONDS),
    retry: false,
  });
}

/** True while the server does not answer at all; when it is back, everything is asked again. */
export function useOffline(): boolean {
  const { error } = useHealth();
  const queries = useQueryClient();
  const offline = error instanceof ApiProblem && error.status === 0;
  const before = useRef(offline);
  useEffect(() => {
    if (before.current && !offline) void queries.invalidateQueries();
    before.current = offline;
  }, [offline, queries]);
  return offline;
}
