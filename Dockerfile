# syntax=docker/dockerfile:1
#
# The program alone, linked statically, with the certificates of the system that built it:
#
#   docker build -t mcp-bridge .
#   docker run -i --rm --user "$(id -u):$(id -g)" -v ~/.mcp-auth:/auth mcp-bridge https://mcp.example.com/mcp
#
# Sign-ins are kept in /auth. Make the folder behind it first: Docker would make it for root. Without sign-ins, leave -v
# out. A browser outside cannot come back to the container, since the program listens on its own loopback alone. So sign in
# with `mcp-bridge login URL` outside, on the same folder; or inside, and paste the address at which the browser ends:
#
#   docker run -it --rm --user "$(id -u):$(id -g)" -v ~/.mcp-auth:/auth mcp-bridge login --no-browser URL
#
# or where the authorization server offers it with --device-code, or on Linux with `docker run --network host`.

FROM rust:1.95-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile ship --bin mcp-bridge \
    && install -D target/ship/mcp-bridge /image/usr/local/bin/mcp-bridge \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -m 700 -o 65532 -g 65532 /image/auth

FROM scratch
COPY --from=build /image /
ENV MCP_BRIDGE_CONFIG_DIR=/auth
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mcp-bridge"]
CMD ["--help"]
