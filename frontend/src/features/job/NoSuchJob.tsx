import { Button } from "@mantine/core";
import { IconMapQuestion } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Empty } from "../../ui/Empty";
import { PageHead } from "../../ui/PageHead";

/** The address of a job that was deleted or never was. */
export function NoSuchJob({ id }: { id: string }) {
  const { t } = useTranslation("job");
  return (
    <>
      <PageHead title={t("noSuchJob")} />
      <Empty icon={<IconMapQuestion size={26} />} title={id} about={t("noSuchJobAbout")}>
        <Button component={Link} to="/">
          {t("allJobs")}
        </Button>
      </Empty>
    </>
  );
}
