// Where a request carries its token.

const BEARER = /^Bearer +(\S+) *$/i;

/** The token of `Authorization: Bearer`, else of `?token=`; undefined when there is none. */
export function requestToken(request: Request): string | undefined {
  const bearer = BEARER.exec(request.headers.get("authorization") ?? "")?.[1];
  return bearer ?? (new URL(request.url).searchParams.get("token") || undefined);
}
