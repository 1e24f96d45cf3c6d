"""Networks for exports: a name, and a function that makes the module, its inputs by name, and labels.

A network with one input calls it `x`. Scores are [N, classes], [N, tokens, classes] or [N, classes, height, width]; labels lack the classes.
"""

import functools

import torch
from torch import nn

import written

# Of large networks, of small ones, and of the smallest, whose activations would be nothing beside the 256 KiB of scratch memory of a thread.
BATCH, MANY, MOST, CLASSES = 4, 32, 256, 10
TOKENS, VOCABULARY, WIDTH = 16, 96, 32


class Scores(nn.Module):
    """A module whose inputs go by position, and whose result is the scores alone."""

    def __init__(self, model, names=None, pick=None):
        super().__init__()
        self.model, self.names, self.pick = model, names, pick

    def forward(self, *inputs):
        result = self.model(*inputs) if self.names is None else self.model(**dict(zip(self.names, inputs)))
        return result if self.pick is None else getattr(result, self.pick)


class Pooled(nn.Module):
    """An encoder with a classifier on the mean of its states."""

    def __init__(self, encoder, names, width):
        super().__init__()
        self.encoder, self.names, self.head = encoder, names, nn.Linear(width, CLASSES)

    def forward(self, *inputs):
        return self.head(self.encoder(**dict(zip(self.names, inputs))).last_hidden_state.mean(1))


def image(size, batch=BATCH):
    return {"x": torch.randn(batch, 3, size, size)}


def classes(batch=MANY):
    return torch.randint(0, CLASSES, (batch,))


def torchvision_model(name, size, **options):
    import torchvision

    return torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options), image(size), classes(BATCH)


def timm_model(name, size, **options):
    import timm

    return timm.create_model(name, pretrained=False, num_classes=CLASSES, **options), image(size), classes(BATCH)


def tokens():
    # Token 0 is padding, whose row of the table PyTorch gives no gradient.
    return {"input_ids": torch.randint(1, VOCABULARY, (MANY, TOKENS)), "attention_mask": torch.ones(MANY, TOKENS, dtype=torch.int64)}


def text_classifier(kind, **options):
    import transformers

    config = getattr(transformers, f"{kind}Config")(vocab_size=VOCABULARY, num_labels=CLASSES, **options)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    inputs = tokens()
    return Scores(model, list(inputs), "logits"), inputs, classes()


def language_model(kind, head, **options):
    import transformers

    config = getattr(transformers, f"{kind}Config")(vocab_size=VOCABULARY, use_cache=False, bos_token_id=1, eos_token_id=2, **options)
    inputs = tokens()
    return Scores(getattr(transformers, head)(config), list(inputs), "logits"), inputs, torch.randint(0, VOCABULARY, (MANY, TOKENS))


def t5_encoder():
    import transformers

    config = transformers.T5Config(vocab_size=VOCABULARY, d_model=WIDTH, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0)
    inputs = tokens()
    return Pooled(transformers.T5EncoderModel(config), list(inputs), WIDTH), inputs, classes()


def whisper_encoder():
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = transformers.WhisperConfig(
        num_mel_bins=20, d_model=WIDTH, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, max_source_positions=32, dropout=0.0
    )
    return Pooled(WhisperEncoder(config), ["input_features"], WIDTH), {"x": torch.randn(MANY, 20, 64)}, classes()


def image_transformer(kind, size, **options):
    import transformers

    config = getattr(transformers, f"{kind}Config")(image_size=size, num_labels=CLASSES, **options)
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    return Scores(model, ["pixel_values"], "logits"), image(size, MANY), classes()


class UNet(nn.Module):
    """Two levels down and up, by transposed convolution and by interpolation."""

    def __init__(self):
        super().__init__()
        block = lambda i, o: nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()
        )
        self.down1, self.down2, self.middle = block(3, 8), block(8, 16), block(16, 32)
        self.pool, self.up2, self.up1 = nn.MaxPool2d(2), nn.ConvTranspose2d(32, 16, 2, stride=2), nn.Conv2d(16, 8, 1)
        self.block2, self.block1, self.head = block(32, 16), block(16, 8), nn.Conv2d(8, CLASSES, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(self.pool(one))
        two = self.block2(torch.cat([self.up2(self.middle(self.pool(two))), two], 1))
        up = nn.functional.interpolate(self.up1(two), scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.block1(torch.cat([up, one], 1)))


def unet():
    return UNet(), image(16, MANY), torch.randint(0, CLASSES, (MANY, 16, 16))


class Recurrent(nn.Module):
    """A recurrent layer of a kind, with a classifier on its last state."""

    def __init__(self, layer, **options):
        super().__init__()
        self.layer, self.head = layer(8, 16, batch_first=True, **options), nn.Linear(32 if options.get("bidirectional") else 16, CLASSES)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def recurrent(layer, **options):
    return Recurrent(layer, **options), {"x": torch.randn(MOST, 7, 8)}, classes(MOST)


class TokenClassifier(nn.Module):
    """Tokens through two layers in both directions, and their last states."""

    def __init__(self, layer, batch_first):
        super().__init__()
        self.embedding, self.batch_first = nn.Embedding(VOCABULARY, 12), batch_first
        self.layers = layer(12, 16, num_layers=2, bidirectional=True, batch_first=batch_first)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x):
        tokens = self.embedding(x)
        last = self.layers(tokens if self.batch_first else tokens.transpose(0, 1))[1]
        last = last[0] if isinstance(last, tuple) else last
        return self.head(torch.cat([last[-2], last[-1]], 1))


def token_classifier(layer, batch_first):
    return TokenClassifier(layer, batch_first), {"x": torch.randint(0, VOCABULARY, (MOST, 9))}, classes(MOST)


class TokenTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(VOCABULARY, 16), nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x):
        return self.head(self.layer(self.embedding(x))[0])


def tagger():
    return TokenTagger(), {"x": torch.randint(0, VOCABULARY, (MOST, 7))}, torch.randint(0, CLASSES, (MOST, 7))


def encoder_layers():
    layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(32 * 7, CLASSES))
    return model, {"x": torch.randn(MOST, 7, 32)}, classes(MOST)


def convolutions(dimensions):
    layer, pool = (nn.Conv1d, nn.AdaptiveAvgPool1d) if dimensions == 1 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    norm = nn.BatchNorm1d if dimensions == 1 else nn.BatchNorm3d
    model = nn.Sequential(layer(3, 8, 3, padding=1), norm(8), nn.ReLU(), layer(8, 16, 3, stride=2), pool(1), nn.Flatten(), nn.Linear(16, CLASSES))
    return model, {"x": torch.randn(MOST, 3, *[8] * dimensions)}, classes(MOST)


def written_graph(name):
    return written.Written(name, MOST), {"x": torch.randn(MOST, *written.GRAPHS[name][1])}, classes(MOST)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8 + 5, CLASSES)

    def forward(self, picture, numbers):
        return self.head(torch.cat([self.conv(picture).relu().mean((2, 3)), numbers], 1))


def two_inputs():
    return TwoInputs(), {"picture": torch.randn(MOST, 3, 8, 8), "numbers": torch.randn(MOST, 5)}, classes(MOST)


def small_vision(family):
    """A network of a family of torchvision that has no small one by name."""
    from torchvision import models
    from torchvision.models.convnext import CNBlockConfig
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    swin = {"patch_size": [2, 2], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": [4, 4]}
    builders = {
        "convnext": lambda: models.ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)], num_classes=CLASSES),
        "swin": lambda: models.SwinTransformer(**swin, num_classes=CLASSES),
        "swin_v2": lambda: models.SwinTransformer(**swin, num_classes=CLASSES, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
        "vit": lambda: models.VisionTransformer(32, 8, 2, 2, WIDTH, 64, num_classes=CLASSES),
        "maxvit": lambda: models.MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, 0.0, num_classes=CLASSES),
    }
    return builders[family](), image(64 if family == "maxvit" else 32), classes(BATCH)


SMALL_VISION = ("convnext", "swin", "swin_v2", "vit", "maxvit")
VISION = {
    "alexnet": 224, "densenet121": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64, "googlenet": 64,
    "inception_v3": 96, "mnasnet0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "regnet_x_400mf": 64,
    "regnet_y_400mf": 64, "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "shufflenet_v2_x0_5": 64, "squeezenet1_1": 64,
    "vgg11_bn": 224, "wide_resnet50_2": 64,
}
VISION_OPTIONS = {
    "googlenet": {"aux_logits": False, "init_weights": False}, "inception_v3": {"aux_logits": False, "init_weights": False},
}
# Of 64 pixels at least four numbers per channel are left to the last batch normalisation, from 32 only one: rounding decides then.
TIMM = {
    "cait_xxs24_224": 32, "coat_lite_tiny": 64, "convmixer_768_32": 64, "convnext_atto": 64, "convnextv2_atto": 64, "crossvit_tiny_240": 240,
    "cspresnet50": 64, "deit_tiny_patch16_224": 32, "densenet121": 64, "dla34": 64, "edgenext_xx_small": 64, "efficientformer_l1": 224,
    "efficientnet_lite0": 64, "fastvit_t8": 64, "ghostnet_050": 64, "gmlp_ti16_224": 32, "hrnet_w18_small": 64, "inception_next_atto": 64,
    "lcnet_035": 64, "levit_128s": 224, "mixer_s32_224": 64, "mixnet_s": 64, "mobilenetv3_small_050": 64, "mobileone_s0": 64,
    "mobilevit_xxs": 64, "mobilevitv2_050": 64, "nf_resnet26": 64, "pit_ti_224": 224, "poolformer_s12": 64, "regnety_002": 64,
    "repvgg_a0": 64, "res2net50_14w_8s": 64, "resmlp_12_224": 32, "resnet18": 64, "resnetv2_50": 64, "rexnet_100": 64, "selecsls42": 64,
    "skresnet18": 64, "starnet_s1": 64, "swin_tiny_patch4_window7_224": 56, "tf_efficientnet_b0": 64, "tinynet_e": 64,
    "vit_tiny_patch16_224": 32, "xcit_nano_12_p16_224": 64,
}
TIMM_WITH_SIZE = ("cait", "coat", "deit", "gmlp", "mixer", "resmlp", "swin", "vit")
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def networks():
    """Functions that make a network, by name."""
    found = {f"torchvision/{n}": functools.partial(torchvision_model, n, s, **VISION_OPTIONS.get(n, {})) for n, s in VISION.items()}
    found |= {f"torchvision/{family}": functools.partial(small_vision, family) for family in SMALL_VISION}
    for name, size in TIMM.items():
        options = {"img_size": size} if name.startswith(TIMM_WITH_SIZE) else {}
        found[f"timm/{name}"] = functools.partial(timm_model, name, size, **options)
    found |= {
        "transformers/bert": functools.partial(text_classifier, "Bert", **SMALL, **NO_DROPOUT),
        "transformers/distilbert": functools.partial(
            text_classifier, "DistilBert", dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=64, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0
        ),
        "transformers/gpt2": functools.partial(
            language_model, "GPT2", "GPT2LMHeadModel", n_embd=WIDTH, n_layer=2, n_head=2, n_positions=TOKENS, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
        ),
        "transformers/llama": functools.partial(language_model, "Llama", "LlamaForCausalLM", **SMALL, num_key_value_heads=1),
        "transformers/t5_encoder": t5_encoder,
        "transformers/whisper_encoder": whisper_encoder,
        "transformers/vit": functools.partial(image_transformer, "ViT", 16, patch_size=4, **SMALL, **NO_DROPOUT),
        "transformers/deit": functools.partial(image_transformer, "DeiT", 16, patch_size=4, **SMALL, **NO_DROPOUT),
        "transformers/swin": functools.partial(
            image_transformer, "Swin", 32, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, drop_path_rate=0.0
        ),
        "transformers/mobilevit": functools.partial(
            image_transformer, "MobileViT", 64, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 64], num_attention_heads=2,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout_prob=0.0,
        ),
        "own/unet": unet,
        "own/lstm": functools.partial(recurrent, nn.LSTM),
        "own/lstm_bidirectional": functools.partial(recurrent, nn.LSTM, bidirectional=True, num_layers=2),
        "own/gru": functools.partial(recurrent, nn.GRU),
        "own/rnn": functools.partial(recurrent, nn.RNN),
        "own/rnn_relu": functools.partial(recurrent, nn.RNN, nonlinearity="relu", bias=False),
        "own/lstm_tokens": functools.partial(token_classifier, nn.LSTM, True),
        "own/lstm_tokens_first": functools.partial(token_classifier, nn.LSTM, False),
        "own/gru_tokens": functools.partial(token_classifier, nn.GRU, True),
        "own/gru_tokens_first": functools.partial(token_classifier, nn.GRU, False),
        "own/tagger": tagger,
        "own/encoder_layers": encoder_layers,
        "own/conv1d": functools.partial(convolutions, 1),
        "own/conv3d": functools.partial(convolutions, 3),
        "own/two_inputs": two_inputs,
    }
    return found | {f"written/{name}": functools.partial(written_graph, name) for name in written.GRAPHS}


def made(name):
    """The network of a name, in training mode without dropout, with its inputs and labels; the same each time."""
    torch.manual_seed(0)
    model, inputs, labels = networks()[name]()
    model.train()
    # Not by evaluation mode: exporters set the mode of all modules.
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)) or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
        elif type(module).__name__ == "DropPath":
            module.drop_prob = 0.0
    return model, inputs, labels
