import { Button, Group, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Advice as Answer } from "../../api/types";
import { formatBytes } from "../../units";
import type { DraftState } from "./draft";

const SHOWN = 5;

/** Changes that save memory, cheapest first, each applied by one click. */
export function Advice({ draft, gpu, open }: { draft: DraftState; gpu: string; open: boolean }) {
  const { t, i18n } = useTranslation("launch");
  const language = i18n.language === "en" ? "en" : "zh";
  const advice = useQuery({
    queryKey: ["advice", draft.spec, gpu, language],
    queryFn: () => call<Answer>("POST", "/advice", { spec: draft.spec, gpu, language }),
    placeholderData: (before) => before,
    retry: false,
  });
  const suggestions = advice.data?.suggestions.slice(0, SHOWN) ?? [];
  if (suggestions.length === 0) return null;
  return (
    <details open={open}>
      <summary>
        {t("advice")}
        {advice.data?.cheapest_gpu && open && (
          <Text span size="sm" className="muted">
            {" · "}
            {t("cheapestGpu", { gpu: advice.data.cheapest_gpu })}
          </Text>
        )}
      </summary>
      <Stack gap="xs" mt="xs">
        {suggestions.map((item) => (
          <Group key={item.id} justify="space-between" wrap="nowrap" gap="sm">
            <div style={{ minWidth: 0 }}>
              <Text size="sm">
                {item.title} <b style={{ whiteSpace: "nowrap" }}>−{formatBytes(item.bytes_saved)}</b>
              </Text>
              <Text size="xs" className="muted">
                {item.price}
              </Text>
            </div>
            <Button
              size="xs"
              variant="light"
              aria-label={t("applyThis", { title: item.title })}
              onClick={() => {
                draft.change(item.patch);
                notifications.show({ message: t("applied", { title: item.title }) });
              }}
            >
              {t("apply")}
            </Button>
          </Group>
        ))}
      </Stack>
    </details>
  );
}
