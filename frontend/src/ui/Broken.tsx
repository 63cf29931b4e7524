import { Button, Group } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { PageHead } from "./PageHead";
import { Problem } from "./Problem";

/** A page that could not be drawn or fetched: after an update of the server its old parts are gone. */
export function Broken({ error }: { error: unknown }) {
  const { t } = useTranslation("shell");
  return (
    <>
      <PageHead title={t("broken")} about={t("brokenAbout")} />
      <Problem error={error} />
      <Group mt="md">
        <Button onClick={() => window.location.reload()}>{t("reload")}</Button>
      </Group>
    </>
  );
}
