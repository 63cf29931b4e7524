import { useMutation, useQuery } from "@tanstack/react-query";
import { call } from "../api/client";
import type { TraceStatus } from "../api/types";

const POLL_MS = 700;

/** Have a spec traced: `ask` it, and follow the answer until it is there. What is told belongs to `text`, the spec as JSON. */
export function useTrace(text: string) {
  const asking = useMutation({
    mutationFn: async (asked: string) => ({
      asked,
      first: await call<TraceStatus>("POST", "/traces", JSON.parse(asked)),
    }),
  });
  const first = asking.data?.asked === text ? asking.data.first : undefined;
  const following = useQuery({
    queryKey: ["trace", first?.key, asking.submittedAt],
    queryFn: () => call<TraceStatus>("GET", `/traces/${first?.key}`),
    enabled: first?.state === "pending",
    refetchInterval: (query) => (query.state.data?.state === "pending" ? POLL_MS : false),
  });
  return {
    ask: () => asking.mutate(text),
    asking: asking.isPending,
    status: following.data ?? first,
    error: (asking.variables === text && asking.error) || following.error,
  };
}
