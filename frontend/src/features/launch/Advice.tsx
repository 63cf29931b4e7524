import { Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Advice as Answer } from "../../api/types";
import { Suggestion } from "../../ui/Suggestion";
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
          <Suggestion
            key={item.id}
            item={item}
            label={t("apply")}
            spoken={t("applyThis", { title: item.title })}
            act={() => {
              draft.change(item.patch);
              notifications.show({ message: t("applied", { title: item.title }) });
            }}
          />
        ))}
      </Stack>
    </details>
  );
}
