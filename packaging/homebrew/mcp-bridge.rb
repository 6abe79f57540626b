# Made from packaging/homebrew/mcp-bridge.rb by fill.sh of the same folder: change it there.
class McpBridge < Formula
  desc "Connects stdio MCP clients to remote MCP servers"
  homepage "@REPOSITORY@"
  version "@VERSION@"
  license "MIT"

  on_macos do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/mcp-bridge-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/mcp-bridge-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin@"
    end
  end

  on_linux do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/mcp-bridge-@VERSION@-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-musl@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/mcp-bridge-@VERSION@-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-musl@"
    end
  end

  def install
    bin.install "mcp-bridge"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/mcp-bridge.bash" => "mcp-bridge"
    zsh_completion.install "completions/_mcp-bridge"
    fish_completion.install "completions/mcp-bridge.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/mcp-bridge --version")
    message = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",' \
              '"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}'
    output = pipe_output("#{bin}/mcp-bridge --initialize-wait 1 http://127.0.0.1:9/mcp", "#{message}\n", 0)
    assert_match '"id":1', output
  end
end
