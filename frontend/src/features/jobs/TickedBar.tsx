import { Button, Group, Text } from "@mantine/core";
import { IconChartLine, IconScale, IconX } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { MOST_RUNS } from "../../charts/TimeSeries";
import { listed } from "../../i18n/list";
import { lossesOf, type Ticked } from "./ticked";

const HINT_ID = "ticked-hint";
/** A difference has two sides. */
const SIDES = 2;

/** What can be done with the ticked jobs, in the order in which they were ticked: the first is side A. */
export function TickedBar({ ids, names, clear }: Ticked) {
  const { t } = useTranslation("jobs");
  const [a, b] = ids;
  const tooMany = ids.length > MOST_RUNS;
  const hints = [
    ...(tooMany ? [t("lossesOfFewer", { most: MOST_RUNS })] : []),
    ...(ids.length === SIDES ? [] : [t("whyOfTwo")]),
  ];
  return (
    <section className="card ticked" aria-label={t("tickedJobs")}>
      <Group gap="xs">
        <Text size="sm" fw={600} role="status">
          {t("ticked", { count: ids.length })}
        </Text>
        <Action
          label={t("compareLosses")}
          icon={<IconChartLine size={14} aria-hidden />}
          to="/losses"
          search={lossesOf(ids)}
        />
        <Action
          label={t("whyMemory")}
          icon={<IconScale size={14} aria-hidden />}
          to="/why"
          search={ids.length === SIDES ? { a, b } : undefined}
        />
        <Button
          size="xs"
          variant="subtle"
          color="gray"
          leftSection={<IconX size={14} aria-hidden />}
          onClick={clear}
        >
          {t("untickAll")}
        </Button>
      </Group>
      <Text size="xs" mt={4} truncate title={listed(names)}>
        {listed(names)}
      </Text>
      {hints.length > 0 && (
        <Text id={HINT_ID} size="xs" className="muted" mt={4}>
          {hints.join(" ")}
        </Text>
      )}
    </section>
  );
}

type Way = { label: string; icon: ReactNode; to: string; search?: Record<string, string | undefined> };

/** A link to a page about the ticked jobs; without ``search`` it can be reached by the keyboard, and why it leads nowhere is read out. */
function Action({ label, icon, to, search }: Way) {
  const looks = { size: "xs", variant: "default", leftSection: icon } as const;
  return search ? (
    <Button {...looks} renderRoot={(props) => <Link {...props} to={to} search={search as never} />}>
      {label}
    </Button>
  ) : (
    <Button {...looks} data-disabled aria-disabled aria-describedby={HINT_ID}>
      {label}
    </Button>
  );
}
