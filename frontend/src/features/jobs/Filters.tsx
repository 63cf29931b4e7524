import { Group, SegmentedControl, Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch, IconUser } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { SEARCH_ID } from "../../ui/Shortcuts";
import { useMe } from "../../ui/server";
import { useUrlState } from "../../ui/urlState";

const SETTLE_MILLISECONDS = 250;

/** The states behind each choice of the filter, as the API takes them. */
export const FILTERS: Record<string, string> = {
  all: "",
  active: "queued,assigned,starting,running,cancelling",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
};

/** Which jobs are listed: in the address, so that a list can be linked to. */
export function Filters({ owners }: { owners: string[] }) {
  const { t } = useTranslation("jobs");
  const me = useMe().data;
  const [wanted, change] = useUrlState();
  const [text, setText] = useState(wanted.q ?? "");
  // What this field asked for last. When the address asks for something else, as by a link to all jobs, the field says so.
  const asked = useRef(wanted.q ?? "");
  useEffect(() => {
    if (asked.current === (wanted.q ?? "")) return;
    asked.current = wanted.q ?? "";
    setText(asked.current);
  }, [wanted.q]);
  const ask = (q: string, filter: Record<string, string | undefined> = {}) => {
    asked.current = q;
    change({ q, ...filter });
  };
  const search = useDebouncedCallback(ask, SETTLE_MILLISECONDS);
  // What was typed a moment ago counts at once when another filter is chosen.
  const choose = (filter: Record<string, string | undefined>) => ask(text.trim(), filter);
  const names = new Set([...(me ? [me.username] : []), ...owners, ...(wanted.owner ? [wanted.owner] : [])]);
  return (
    <Group gap="sm">
      <TextInput
        id={SEARCH_ID}
        type="search"
        w={{ base: "100%", xs: 240 }}
        aria-label={t("search")}
        placeholder={t("search")}
        leftSection={<IconSearch size={16} aria-hidden />}
        rightSection={text ? null : <kbd aria-hidden>/</kbd>}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          search(event.currentTarget.value.trim());
        }}
      />
      <SegmentedControl
        aria-label={t("filter")}
        value={wanted.show && wanted.show in FILTERS ? wanted.show : "all"}
        onChange={(show) => choose({ show: show === "all" ? undefined : show })}
        data={Object.keys(FILTERS).map((value) => ({ value, label: t(`filter_${value}`) }))}
        size="xs"
        style={{ maxWidth: "100%", overflowX: "auto" }}
      />
      <Select
        aria-label={t("ownerFilter")}
        placeholder={t("everybody")}
        clearable
        clearButtonProps={{ "aria-label": t("everybody") }}
        w={{ base: "100%", xs: 180 }}
        leftSection={<IconUser size={16} aria-hidden />}
        data={[...names].sort().map((name) => ({
          value: name,
          label: name === me?.username ? t("mine", { name }) : name,
        }))}
        value={wanted.owner ?? null}
        onChange={(owner) => choose({ owner: owner ?? undefined })}
      />
    </Group>
  );
}
