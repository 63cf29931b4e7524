import { Group, Modal, Stack, Text } from "@mantine/core";
import { useWindowEvent } from "@mantine/hooks";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";

export const SEARCH_ID = "search";
const PLACES = { n: "/new", j: "/", d: "/datasets", m: "/machines", w: "/why" } as const;

type Props = { opened: boolean; setOpened: (opened: boolean) => void };

/** Single keys for the frequent ways, never while typing; "?" lists them. */
export function Shortcuts({ opened, setOpened }: Props) {
  const { t } = useTranslation("shell");
  const navigate = useNavigate();
  const search = async () => {
    if (!document.getElementById(SEARCH_ID)) await navigate({ to: "/" });
    // The list may have just been asked for: its search box is there within a frame or two.
    setTimeout(() => document.getElementById(SEARCH_ID)?.focus(), 60);
  };
  useWindowEvent("keydown", (event) => {
    // By the character, not the key: "/" and "?" are elsewhere on other keyboards.
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const to = PLACES[event.key as keyof typeof PLACES];
    if (to) void navigate({ to });
    else if (event.key === "?") setOpened(true);
    else if (event.key === "/") void search();
    else return;
    event.preventDefault();
  });
  const rows: [string, string][] = [
    ["n", t("new")],
    ["/", t("searchJobs")],
    ["j", t("jobs")],
    ["d", t("datasets")],
    ["m", t("machines")],
    ["w", t("why")],
    ["?", t("shortcuts")],
  ];
  return (
    <Modal
      opened={opened}
      onClose={() => setOpened(false)}
      title={t("shortcuts")}
      closeButtonProps={{ "aria-label": t("close") }}
    >
      <Stack gap="xs">
        {rows.map(([key, what]) => (
          <Group key={key} justify="space-between">
            <Text>{what}</Text>
            <kbd>{key}</kbd>
          </Group>
        ))}
      </Stack>
    </Modal>
  );
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [role=dialog]") !== null;
}
