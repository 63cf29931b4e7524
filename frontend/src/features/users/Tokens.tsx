import { Alert, Button, Code, Group, Skeleton, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { Token } from "../../api/types";
import { Copy } from "../../ui/Copy";
import { useConfirm } from "../../ui/confirm";
import { Problem } from "../../ui/Problem";
import { formatAgo, formatDate } from "../../units";

export function Tokens() {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const tokens = useQuery({ queryKey: ["tokens"], queryFn: () => answer(api.GET("/api/tokens")) });
  const [name, setName] = useState("");
  const create = useMutation({
    mutationFn: () => answer(api.POST("/api/tokens", { body: { name: name.trim() } })),
    onSuccess: () => {
      setName("");
      void queries.invalidateQueries({ queryKey: ["tokens"] });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    create.mutate();
  };
  return (
    <section className="card">
      <Stack>
        <div>
          <Title order={2}>{t("tokens")}</Title>
          <Text className="muted" size="sm">
            {t("tokensAbout")} <a href="/api/docs">{t("apiReference")}</a>
          </Text>
        </div>
        {tokens.error && <Problem error={tokens.error} retry={tokens.refetch} />}
        {tokens.isPending && <Skeleton height={40} />}
        {create.data && (
          <Alert color="teal" icon={<IconKey size={18} aria-hidden />} title={t("shownOnce")} role="status">
            <Group gap="xs">
              <Code style={{ overflowWrap: "anywhere" }}>{create.data.token}</Code>
              <Copy value={create.data.token} />
            </Group>
          </Alert>
        )}
        {tokens.data && tokens.data.items.length > 0 && (
          <Table>
            <Table.Tbody>
              {tokens.data.items.map((token) => (
                <TokenRow
                  key={token.id}
                  token={token}
                  onGone={() => create.data?.id === token.id && create.reset()}
                />
              ))}
            </Table.Tbody>
          </Table>
        )}
        {create.error && <Problem error={create.error} />}
        <form onSubmit={submit}>
          <Group align="flex-end">
            <TextInput
              label={t("tokenName")}
              placeholder={t("tokenExample")}
              maxLength={120}
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
            />
            <Button type="submit" variant="default" loading={create.isPending} disabled={!name.trim()}>
              {t("createToken")}
            </Button>
          </Group>
        </form>
      </Stack>
    </section>
  );
}

function TokenRow({ token, onGone }: { token: Token; onGone: () => void }) {
  const { t } = useTranslation("users");
  const queries = useQueryClient();
  const confirm = useConfirm();
  const remove = useMutation({
    mutationFn: () =>
      answer(api.DELETE("/api/tokens/{token_id}", { params: { path: { token_id: token.id } } })),
    onSuccess: () => {
      onGone();
      return queries.invalidateQueries({ queryKey: ["tokens"] });
    },
  });
  return (
    <Table.Tr>
      <Table.Td>
        <Text fw={550} style={{ overflowWrap: "anywhere" }}>
          {token.name}
        </Text>
        <Text size="xs" className="muted" title={formatDate(token.created_at)}>
          {t("made", { ago: formatAgo(token.created_at) })}
          {" · "}
          {token.last_used_at ? t("used", { ago: formatAgo(token.last_used_at) }) : t("neverUsed")}
        </Text>
        {remove.error && <Problem error={remove.error} />}
      </Table.Td>
      <Table.Td ta="right">
        <Button
          size="xs"
          variant="subtle"
          color="red"
          loading={remove.isPending}
          aria-label={t("revokeToken", { name: token.name })}
          onClick={() =>
            confirm({
              title: t("revokeTitle", { name: token.name }),
              about: t("revokeAbout"),
              act: t("revoke"),
              onConfirm: () => remove.mutate(),
            })
          }
        >
          {t("revoke")}
        </Button>
      </Table.Td>
    </Table.Tr>
  );
}
