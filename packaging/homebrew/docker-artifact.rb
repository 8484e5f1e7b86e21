# For a tap: the release workflow writes VERSION and REVISION into a copy of this, and publishes it with the release.
class DockerArtifact < Formula
  desc "Docker CLI plugin that gets files out of an image without pulling it"
  homepage "https://github.com/docker-artifact/docker-artifact"
  url "https://github.com/docker-artifact/docker-artifact.git",
      tag:      "v@VERSION@",
      revision: "@REVISION@"
  license "Apache-2.0"
  head "https://github.com/docker-artifact/docker-artifact.git", branch: "main"

  depends_on "rust" => :build

  def install
    man1.mkpath
    system "cargo", "install", *std_cargo_args
    bin.install_symlink "docker-artifact" => "copy_binary"
    (lib/"docker/cli-plugins").install_symlink bin/"docker-artifact"
    generate_completions_from_executable(bin/"docker-artifact", "completion")
    system bin/"docker-artifact", "man", man1
  end

  def caveats
    <<~EOS
      docker-artifact is a Docker plugin. For Docker to find it, add "cliPluginsExtraDirs" to ~/.docker/config.json:
        "cliPluginsExtraDirs": [
            "#{HOMEBREW_PREFIX}/lib/docker/cli-plugins"
        ]
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/docker-artifact --version")

    # An image as docker save writes it, with one file.
    (testpath/"hello").write "Hello\n"
    system "tar", "-cf", "layer.tar", "hello"
    layer = Digest::SHA256.file("layer.tar").hexdigest
    (testpath/"config.json").write <<~JSON
      {"architecture": "amd64", "os": "linux", "config": {},
       "rootfs": {"type": "layers", "diff_ids": ["sha256:#{layer}"]}}
    JSON
    (testpath/"manifest.json").write '[{"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]'
    system "tar", "-cf", "app.tar", "manifest.json", "config.json", "layer.tar"
    assert_equal "Hello\n", shell_output("#{bin}/docker-artifact get app.tar /hello -o -")
  end
end
