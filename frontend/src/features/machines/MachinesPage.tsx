import { Skeleton, Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Machine } from "../../api/types";
import { NoWorker } from "../../ui/NoWorker";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { remember } from "./history";
import { MachineCard } from "./MachineCard";

const REFRESH_MILLISECONDS = 2000;

async function machinesNow() {
  const answer = await call<{ machines: Machine[] }>("GET", "/gpus");
  remember(answer.machines);
  return answer;
}

export default function MachinesPage() {
  const { t } = useTranslation("machines");
  const machines = useQuery({
    queryKey: ["machines"],
    queryFn: machinesNow,
    refetchInterval: REFRESH_MILLISECONDS,
  });
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        {machines.error && <Problem error={machines.error} />}
        {machines.isPending && <Skeleton height={160} />}
        {machines.data?.machines.length === 0 && <NoWorker />}
        {machines.data?.machines.map((machine) => (
          <MachineCard key={machine.name} machine={machine} />
        ))}
      </Stack>
    </>
  );
}
