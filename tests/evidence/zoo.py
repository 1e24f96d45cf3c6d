"""Networks of the zoo beside PyTorch's, with the same weights: see README.md."""

import argparse
import subprocess

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

import exports

BATCH, CLASSES, TOKENS, VOCABULARY = 4, 10, 16, 96
TEXT = ["--sequence", TOKENS, "--vocabulary", VOCABULARY]
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3, self.fc4 = nn.Linear(3 * 32 * 32, 128), nn.Linear(128, 128), nn.Linear(128, 128), nn.Linear(128, CLASSES)

    def forward(self, x):
        x = x.flatten(1)
        for layer in (self.fc1, self.fc2, self.fc3):
            x = layer(x).relu()
        return self.fc4(x)


class DoubleConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
            nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
        )

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(i, o))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(i, o, 2, stride=2), DoubleConv(2 * o, o)

    def forward(self, x, skipped):
        return self.conv(torch.cat([skipped, self.up(x)], 1))


class Last(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(3, 16), Down(16, 32), Down(32, 64)
        self.up1, self.up2, self.outc = Up(64, 32), Up(32, 16), Last(16, CLASSES)

    def forward(self, x):
        one = self.inc(x)
        two = self.down1(one)
        return self.outc(self.up2(self.up1(self.down2(two), two), one))


class LongShortTerm(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(VOCABULARY, hidden), nn.LSTM(hidden, hidden, 2, batch_first=True)
        self.classifier = nn.Linear(hidden, CLASSES)

    def forward(self, input_ids):
        return self.classifier(self.lstm(self.embedding(input_ids))[0][:, -1])


def resnet():
    from torchvision.models import resnet50

    return resnet50(num_classes=CLASSES)


def convnext():
    from torchvision.models import ConvNeXt
    from torchvision.models.convnext import CNBlockConfig

    stages = [CNBlockConfig(96, 192, 3), CNBlockConfig(192, 384, 3), CNBlockConfig(384, 768, 2), CNBlockConfig(768, None, 3)]
    return ConvNeXt(stages, num_classes=CLASSES)


def vit():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=32, patch_size=4, embed_dim=192, depth=2, num_heads=3, num_classes=CLASSES)


def gpt():
    from transformers import GPT2Config, GPT2LMHeadModel

    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=192, n_layer=2, n_head=3, n_positions=TOKENS, use_cache=False, bos_token_id=0, eos_token_id=0, **dropout
    )
    return exports.networks.Scores(GPT2LMHeadModel(config), ["input_ids"], "logits")


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=192, num_hidden_layers=2, num_attention_heads=3, intermediate_size=768, max_position_embeddings=TOKENS,
        num_labels=CLASSES, pad_token_id=None, **WITHOUT_DROPOUT,
    )
    return exports.networks.Scores(BertForSequenceClassification(config), ["input_ids", "attention_mask"], "logits")


def images(side):
    return {"input": torch.randn(BATCH, 3, side, side)}, torch.randint(0, CLASSES, (BATCH,))


def pixels(side):
    return images(side)[0], torch.randint(0, CLASSES, (BATCH, side, side))


def sequences():
    return {"input_ids": torch.randint(0, VOCABULARY, (BATCH, TOKENS))}, torch.randint(0, CLASSES, (BATCH,))


def masked():
    mask = torch.ones(BATCH, TOKENS, dtype=torch.int64)
    mask[:, TOKENS // 2 :] = torch.randint(0, 2, (BATCH, TOKENS // 2))
    return sequences()[0] | {"attention_mask": mask}, sequences()[1]


def next_tokens():
    return sequences()[0], torch.randint(0, VOCABULARY, (BATCH, TOKENS))


# Options of `bitbudget zoo`, the module, its inputs by name with labels.
NETWORKS = {
    "mlp": (["--width", 0.25], Perceptron, lambda: images(32)),
    "unet": (["--width", 0.25, "--depth", 2], UNet, lambda: pixels(32)),
    "resnet-50": (["--input", "3x64x64"], resnet, lambda: images(64)),
    "convnext": (["--depth", 2, "--input", "3x64x64"], convnext, lambda: images(64)),
    "vit": (["--width", 0.5, "--depth", 2, "--input", "3x32x32"], vit, lambda: images(32)),
    "gpt": (["--width", 0.25, "--depth", 2, *TEXT], gpt, next_tokens),
    "bert": (["--width", 0.25, "--depth", 2, *TEXT], bert, masked),
    "lstm": (["--width", 0.1, *TEXT], lambda: LongShortTerm(65), sequences),
}


def give(model, path):
    """Gives a module the weights of a file, by name; what only counts batches has none."""
    inner = model.model if isinstance(model, exports.networks.Scores) else model
    weights = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in onnx.load(path).graph.initializer}
    missing = set(dict(inner.named_parameters())) - set(weights)
    if missing:
        raise ValueError(f"the file has no {', '.join(sorted(missing))}")
    states = inner.state_dict()
    with torch.no_grad():
        for name in states:
            if name in weights:
                states[name].copy_(weights[name].reshape(states[name].shape))


def check(name, work, folder):
    """A row of the table, and whether it is right."""
    options, module, made = NETWORKS[name]
    torch.manual_seed(0)
    path, data = work / f"{name}.onnx", work / f"{name}.npz"
    subprocess.run([str(a) for a in [folder / "bitbudget", "zoo", name, *options, "-o", path, "--quiet"]], check=True)
    model, (inputs, labels) = module(), made()
    model.train()
    give(model, path)
    # The data of a network with one input call it x.
    names = {"x": x for x in inputs.values()} if len(inputs) == 1 else inputs
    np.savez(data, **{n: x.numpy() for n, x in names.items()}, y=labels.numpy())
    model.zero_grad()
    expected, theirs = exports.in_pytorch(model, inputs, labels)
    loss, ours, _ = exports.in_bitbudget(folder, path, data, len(labels))
    errors, missing = exports.gradient_errors(ours, theirs)
    own_loss, own = exports.own_distances(model, inputs, labels, (expected, theirs))
    excess = {n: error / max(exports.GRADIENT, exports.OWN_DISTANCES * own.get(n, 0.0)) for n, error in errors.items()}
    worst = max(excess, key=excess.get)
    count = sum(p.numel() for p in model.parameters())
    right = not missing and excess[worst] <= 1 and abs(loss - expected) <= max(exports.FIRST_LOSS * abs(expected), exports.OWN_DISTANCES * own_loss)
    text = " ".join(str(option) for option in options)
    beside = f", PyTorch's own {own[worst]:.1e}" if errors[worst] > exports.GRADIENT else ""
    print(f"| {name} | `{text}` | {count:,} | {loss:.6f} | {expected:.6f} | {errors[worst]:.1e} ({worst}{beside}) |", flush=True)
    if not right:
        print(f"  not right: {missing or 'numbers differ'}")
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wanted", nargs="*", help="only these networks")
    parser.add_argument("--profile", default="dev", help="of cargo: release or dev")
    parser.add_argument("--no-build", action="store_true")
    arguments = parser.parse_args()
    folder = exports.binaries(arguments.profile, build=not arguments.no_build)
    work = exports.ROOT / "target" / "exports" / "zoo"
    work.mkdir(parents=True, exist_ok=True)
    wanted = arguments.wanted or list(NETWORKS)
    right = [check(name, work, folder) for name in wanted]
    print(f"\n{sum(right)} of {len(right)} are right")


if __name__ == "__main__":
    main()
